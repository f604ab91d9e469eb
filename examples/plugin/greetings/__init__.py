"""Actions that greet: an example of a plug-in."""
