"""The paper's tables and figures and our own, a folder per task."""
