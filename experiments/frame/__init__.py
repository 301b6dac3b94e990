"""The frame: from a command line to a finished run and its record, the same for all tasks."""
