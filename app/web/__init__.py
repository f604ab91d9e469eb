"""The web page: static files, a client of the REST API, and a check of definitions as one types."""
