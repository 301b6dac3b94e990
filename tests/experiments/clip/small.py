"""A CLIP small enough for tests, as overrides."""

from __future__ import annotations

SMALL = (
    "model.config.vision_cfg.width=8",
    "model.config.vision_cfg.head_width=16",
    "model.config.text_cfg.width=16",
    "model.size=32",
)
