"""Bias of generated text, and language models that treat groups alike (paper, Section 5.1.2)."""
