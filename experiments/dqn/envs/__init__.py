"""Environments of the deep Q-learning experiments: batched simulators and two environments."""
