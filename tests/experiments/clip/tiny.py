"""Architectures and tags that open_clip has not: small ones, whose weights lie in a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.clip import checkpoints
from experiments.external.hub import HubFile
from experiments.frame.files import file_digest

_TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
_SEES = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
_TIMM = {
    "timm_model_name": "test_resnet",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "image_size": 32,
}
_TOKENS = {"output_tokens": True}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-vit": {"embed_dim": 16, "vision_cfg": _SEES, "text_cfg": _TEXT},
    "tiny-siglip": {
        "embed_dim": 16,
        "vision_cfg": _SEES,
        "text_cfg": _TEXT,
        "custom_text": True,
        "init_logit_bias": -10.0,
    },
    "tiny-timm": {"embed_dim": 16, "vision_cfg": _TIMM, "text_cfg": _TEXT},
    "tiny-coca": {
        "embed_dim": 16,
        "vision_cfg": {**_SEES, "attentional_pool": True, "attn_pooler_heads": 2, **_TOKENS},
        "text_cfg": {**_TEXT, "context_length": 23, "embed_cls": True, **_TOKENS},
        "multimodal_cfg": {**_TEXT, "context_length": 23, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}
#: What open_clip would say of the weights.
TAG = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def add_to_open_clip(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let open_clip know the architectures, each with a tag ``here`` whose file is in a folder."""
    register(monkeypatch)

    def fetched(repository: str, *_: str, **__: str | None) -> HubFile:
        path = file_of(repository.partition("/")[2], folder)
        return HubFile(path, None, file_digest(path))

    monkeypatch.setattr(checkpoints, "hub_file", fetched)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open_clip know the architectures, each with a tag ``here`` of a repository of the hub."""
    from open_clip import factory, pretrained

    for name, description in ARCHITECTURES.items():
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, description)
        tag = {**TAG, "hf_hub": f"someone/{name}/"}
        monkeypatch.setitem(pretrained._PRETRAINED, name, {"here": tag})


def file_of(name: str, folder: Path) -> Path:
    """Return a file with the weights of an architecture."""
    path = folder / f"{name}.pt"
    if not path.exists():
        torch.save({"state_dict": state_of(name)}, path)
    return path


def state_of(name: str) -> dict[str, torch.Tensor]:
    """Return weights of an architecture, always the same."""
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(3)
        state: dict[str, torch.Tensor] = copy.deepcopy(open_clip.create_model(name).state_dict())
    # CoCa's decoder leaves this one as memory was.
    if (empty := "text_decoder.text_projection") in state:
        state[empty].zero_()
    return state
