"""A CLIP small enough for tests, as overrides, and few images for it."""

from __future__ import annotations

SMALL = (
    "model.config.vision_cfg.width=8",
    "model.config.vision_cfg.head_width=16",
    "model.config.text_cfg.width=16",
    "model.size=32",
)
SHORT = (
    "task=clip",
    *SMALL,
    "dataset.per_class_train=20",
    "dataset.per_class_test=10",
    "task.pretrain.epochs=2",
)
