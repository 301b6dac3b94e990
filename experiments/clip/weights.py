"""Weights of CLIP models: fetched, converted as open_clip does, put in. None of it runs code."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.errors import UserError, one_line
from experiments.weight_files import (
    check_weights,
    listed,
    load_weights,
    name_faults,
    unpickle,
    wrong_shapes,
)

if TYPE_CHECKING:
    from experiments.clip.sections import ClipModel

log = logging.getLogger(__name__)

#: Buffers that follow from the architecture, or count batches; old files hold some of them.
_COMPUTED = ("attn_mask", "num_batches_tracked", "position_ids")
#: Numbers that OpenAI's files hold beside the weights.
_OPENAI = ("input_resolution", "context_length", "vocab_size")
#: One scalar each, which some files keep as a list of one.
_SCALARS = ("logit_scale", "logit_bias")
#: The file of a hub's folder that open_clip takes where the tag names none.
_HUB_FILE = "open_clip_model.safetensors"


def fetch(model: ClipModel) -> Path:
    """Return the file with the weights of a tag, from the hub or from the cache of an earlier time.

    Raises:
        UserError: If it cannot be had; one line that says which file to place where.
    """
    import open_clip  # type: ignore[import-untyped]

    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    try:
        path = Path(open_clip.download_pretrained(tag))
    except Exception as error:  # networks and hubs fail in any way
        name, source = _source(tag)
        raise UserError(
            f"the weights {model.weights} of {model.architecture} cannot be fetched "
            f"({one_line(error)}); where there is no network, get {name} of {source}, place it in "
            f"any folder and give model.checkpoint=FOLDER/{name}, or try model=SmallCLIP, which "
            "needs none"
        ) from error
    return path


def _source(tag: dict[str, Any]) -> tuple[str, str]:
    """Return the name of a tag's file and the address of the folder that it is in."""
    if tag.get("hf_hub"):
        repository, _, name = tag["hf_hub"].rpartition("/")
        return name or _HUB_FILE, f"https://huggingface.co/{repository}"
    folder, _, name = str(tag.get("url", "")).rpartition("/")
    return name, folder


def put_file(built: nn.Module, path: Path, model: ClipModel) -> None:
    """Put the weights of a file into a model.

    Args:
        built: The model.
        path: A .safetensors file; a .pt, .pth, .th or .bin file that holds tensors alone; or an
            .npz file of big_vision, for its SigLIP models.
        model: Its configuration.

    Raises:
        UserError: If the file is damaged, would run code, or has weights of another architecture.
    """
    if path.suffix == ".npz":
        _put_big_vision(built, path, model)
    elif path.suffix == ".bin":  # what the hub calls them
        put(built, check_weights(unpickle(path), str(path)), model)
    else:
        put(built, load_weights(path), model)


def _put_big_vision(built: nn.Module, path: Path, model: ClipModel) -> None:
    """Put the arrays of a file of big_vision into a model; numpy is told of no pickles."""
    from open_clip.convert import load_big_vision_weights  # type: ignore[import-untyped]

    try:
        load_big_vision_weights(built, str(path))
    except Exception as error:  # whatever it does not find
        raise UserError(
            f"{path}: no file of big_vision with the weights of {model.architecture} "
            f"({one_line(error)})"
        ) from error
    check_weights(built.state_dict(), str(path))


def put(built: nn.Module, weights: dict[str, Tensor], model: ClipModel) -> None:
    """Put weights into a model, all of them.

    Args:
        built: The model.
        weights: By name; names and shapes that open_clip converts for its models are converted.
        model: Its configuration.

    Raises:
        UserError: If they are not those of the architecture.
    """
    needed = built.state_dict()
    found = _converted(built, weights, model)
    given = {n: v for n, v in found.items() if n in needed or not n.endswith(_COMPUTED)}
    faults, wrong = name_faults(given, needed, _COMPUTED), wrong_shapes(given, needed)
    faults += [f"it has {listed(wrong)}"] if wrong else []
    if faults:
        raise UserError(f"the weights are not those of {model.architecture}: {'; '.join(faults)}")
    built.load_state_dict(given, strict=False)


def _converted(built: nn.Module, weights: dict[str, Tensor], model: ClipModel) -> dict[str, Tensor]:
    """Return weights under the names and in the shapes that `open_clip.load_checkpoint` gives them.

    That function reads files itself; these were read, and checked, before.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict  # type: ignore[import-untyped]

    found = {name: value for name, value in weights.items() if name not in _OPENAI}
    try:
        found = dict(convert_state_dict(built, found))  # MobileCLIP's
    except Exception as error:  # whatever it does not find
        raise UserError(
            f"the weights are not those of {model.architecture}: they cannot be converted "
            f"({one_line(error)})"
        ) from error
    if "positional_embedding" in found and not hasattr(built, "positional_embedding"):
        found = dict(convert_to_custom_text_state_dict(found))
    for name in _SCALARS:
        own = getattr(built, name, None)
        if own is not None and name in found and found[name].numel() == 1:
            found[name] = found[name].reshape(own.shape)
    if getattr(built, "logit_bias", None) is not None and "logit_scale" in found:
        # It adds the same to every class. Only models trained with SigLIP's loss have one.
        found.setdefault("logit_bias", torch.zeros_like(found["logit_scale"]))
    _resize_positions(built, found)
    return found


def _resize_positions(built: nn.Module, weights: dict[str, Tensor]) -> None:
    """Resize the embeddings of positions in place, for images or captions of another size.

    Those that cannot be resized stay as they are, for their shapes to be refused.
    """
    from open_clip.model import resize_pos_embed, resize_text_pos_embed

    for name in (name for name in tuple(weights) if name.endswith("positional_embedding")):
        weights[name] = weights[name].float()
    before = {name: value.shape for name, value in weights.items()}
    for resize in (resize_pos_embed, resize_text_pos_embed):
        try:
            resize(weights, built)
        except (AssertionError, AttributeError, RuntimeError):
            continue
    if changed := [name for name, shape in before.items() if weights[name].shape != shape]:
        log.warning("%s: resized to the model's number of positions", listed(changed))
