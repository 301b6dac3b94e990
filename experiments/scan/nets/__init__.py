"""Sequence-to-sequence networks for SCAN, and their training, in plain PyTorch."""
