"""Runs of presets: which there are and which are missing."""
