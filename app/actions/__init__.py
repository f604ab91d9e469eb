"""What a task can do: the actions that come with Celeriac, and how others are added and run."""
