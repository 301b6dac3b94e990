"""Sequence-to-sequence networks for SCAN and, in plain PyTorch, what training them means."""
