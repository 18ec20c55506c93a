"""Numbers that hold: tasks, protocols, statistics, and the child process of `openr1 eval`."""
