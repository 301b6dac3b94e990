"""CLIP models of open_clip: built, found, loaded. No code is ever loaded with weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.errors import UserError, one_line
from experiments.files import sha256
from experiments.images.inputs import Preprocessing
from experiments.images.pretraining import is_ours
from experiments.weight_files import listed, load_weights, name_faults, wrong_shapes

if TYPE_CHECKING:
    from experiments.clip.sections import ClipModel
    from experiments.records import Run
    from experiments.schema import RunConfig

WEIGHTS = "model.safetensors"
#: Buffers that follow from the architecture, or count batches; old files hold some of them.
_COMPUTED = ("attn_mask", "num_batches_tracked", "position_ids")


def build_model(model: ClipModel) -> nn.Module:
    """Build a model; its weights are drawn from the global generator.

    Args:
        model: Its configuration, checked.
    """
    import open_clip  # type: ignore[import-untyped]

    if model.config is not None:
        built: nn.Module = open_clip.CLIP(**model.config)
        return built
    # OpenAI's weights need an activation that the architecture's own name does not say.
    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    built = open_clip.create_model(
        model.architecture,
        load_weights=False,
        pretrained_text=False,
        force_quick_gelu=bool(tag.get("quick_gelu", False)),
    )
    return built


def make_tokenizer(model: ClipModel) -> Callable[[Sequence[str]], Tensor]:
    """Return what turns captions into ids, [n, L]."""
    import open_clip

    if model.config is not None:
        length = model.config["text_cfg"]["context_length"]
        found: Callable[[Sequence[str]], Tensor] = open_clip.SimpleTokenizer(context_length=length)
        return found
    try:
        found = open_clip.get_tokenizer(model.architecture)
    except Exception as error:  # hubs fail in any way
        raise UserError(
            f"the tokenizer of model.architecture={model.architecture} cannot be fetched "
            f"({one_line(error)}); it comes from the hub, to be cached before where there is no "
            "network"
        ) from error
    return found


def preprocessing(model: ClipModel) -> Preprocessing:
    """Return how a model sees images."""
    assert model.size is not None and model.mean is not None and model.std is not None
    interpolation = model.interpolation
    assert interpolation is not None
    return Preprocessing(model.size, tuple(model.mean), tuple(model.std), interpolation)


def pretrained_model(config: RunConfig, run: Run) -> nn.Module:
    """Return the frozen model that a run builds on: ours, the hub's, or from a file.

    Raises:
        UserError: If weights cannot be fetched, or are not those of the architecture.
    """
    model = config.model
    if model.checkpoint is not None:
        weights = load_weights(Path(model.checkpoint))
        run.fact("checkpoint_sha256", sha256(Path(model.checkpoint)))
    elif is_ours(config):
        finished = run.need("pretrain")
        run.fact("pretrained_by", finished.record["name"])
        weights, _ = finished.tensors(WEIGHTS)
    else:
        weights = _fetch(model)
    with torch.random.fork_rng(devices=[]):
        built = build_model(model)
    _put(built, weights, model)
    return built.eval().requires_grad_(False)


def _fetch(model: ClipModel) -> dict[str, Tensor]:
    """Fetch the weights of a tag, or take them from the cache of an earlier time."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    try:
        path = open_clip.download_pretrained(tag)
        found: dict[str, Tensor] = open_clip.load_state_dict(path, weights_only=True)
    except Exception as error:  # networks and hubs fail in any way
        source = tag.get("hf_hub") or tag.get("url")
        raise UserError(
            f"the weights {model.weights} of {model.architecture} cannot be fetched "
            f"({one_line(error)}); where there is no network, place a file of {source} somewhere "
            "and give model.checkpoint=FILE, or try model=SmallCLIP, which needs none"
        ) from error
    return found


def _put(built: nn.Module, weights: dict[str, Tensor], model: ClipModel) -> None:
    """Put weights into a model, all of them."""
    needed = built.state_dict()
    given = {n: v for n, v in weights.items() if n in needed or not n.endswith(_COMPUTED)}
    faults, wrong = name_faults(given, needed, _COMPUTED), wrong_shapes(given, needed)
    faults += [f"it has {listed(wrong)}"] if wrong else []
    if faults:
        raise UserError(f"the weights are not those of {model.architecture}: {'; '.join(faults)}")
    built.load_state_dict(given, strict=False)


def complete(model: ClipModel) -> None:
    """Check that open_clip has a model, and fill in how it sees images.

    Raises:
        UserError: Naming the nearest names, for an unknown architecture or tag.
    """
    import open_clip

    known = open_clip.list_models()
    if model.architecture not in known:
        raise _unknown("model.architecture", model.architecture, known, "open_clip.list_models()")
    if model.checkpoint is None or model.weights != "ours":
        tags = open_clip.list_pretrained_tags_by_model(model.architecture)
        if model.weights not in tags:
            raise _unknown("model.weights", model.weights, tags, "ours is for architecture=custom")
    tag: dict[str, Any] = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    towers = open_clip.get_model_config(model.architecture)
    model.size = model.size or int(towers["vision_cfg"]["image_size"])
    model.mean = model.mean or list(tag.get("mean") or open_clip.OPENAI_DATASET_MEAN)
    model.std = model.std or list(tag.get("std") or open_clip.OPENAI_DATASET_STD)
    model.interpolation = model.interpolation or tag.get("interpolation") or "bicubic"


def _unknown(key: str, value: str, known: Sequence[str], note: str) -> UserError:
    near = difflib.get_close_matches(value, known, n=5, cutoff=0.4) or sorted(known)[:5]
    return UserError(f"{key}={value} is unknown; near it are: {', '.join(near)} ({note})")
