"""Sequence-to-sequence networks for SCAN and the two ways to train them (PyTorch, compiled)."""
