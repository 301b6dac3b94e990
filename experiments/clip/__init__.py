"""Image classification by CLIP, zero-shot and fine-tuned (paper, Section 5.2.1)."""
