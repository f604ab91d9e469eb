"""Publishers: where events of executions go, and how each of them takes one."""
