"""The experiments of the paper: one folder per task and the few things that all tasks share."""
