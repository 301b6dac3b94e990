"""Weights of CLIP models: fetched, converted as open_clip does, loaded without running code."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from experiments.external.downloads import Unavailable, web_file
from experiments.external.hub import HubFile, commit_of, hub_file, hub_tokenizer
from experiments.external.published import cached_digests, pinned
from experiments.external.weight_files import (
    check_weights,
    is_program,
    listed,
    load_weights,
    name_faults,
    reason_of,
    under_prefix,
    wrong_shapes,
)
from experiments.frame.errors import UserError, one_line
from experiments.frame.files import file_digest

if TYPE_CHECKING:
    from experiments.clip.options import ClipModel

log = logging.getLogger(__name__)

#: Buffers that follow from the architecture, or count batches; old files hold some of them.
_COMPUTED = ("attn_mask", "num_batches_tracked", "position_ids")
#: Numbers that OpenAI's files hold beside the weights.
_OPENAI = ("input_resolution", "context_length", "vocab_size")
#: Scalars, which some files store as lists of length one.
_SCALARS = ("logit_scale", "logit_bias")
#: File names that open_clip looks for if a tag names no file, in order of preference.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
#: Server of the weights that are not on the hub.
_CACHE = Path("~/.cache/clip")


class Source(NamedTuple):
    """Where the weights of a tag are published.

    Attributes:
        page: The address of their folder.
        names: Possible names of the file; the first that exists is used.
        repository: The repository on the hub; None: another server.
    """

    page: str
    names: tuple[str, ...]
    repository: str | None


def source(model: ClipModel) -> Source | None:
    """Return the source of a tag's weights; None if open_clip has no such tag."""
    import open_clip  # type: ignore[import-untyped]

    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    if tag.get("hf_hub"):
        repository, _, name = tag["hf_hub"].rpartition("/")
        names = (name,) if name else _HUB_FILES
        if name.endswith((".bin", ".pth")):  # as in open_clip: prefer files without pickle
            names = (f"{name[:-4]}.safetensors", name)
        return Source(f"https://huggingface.co/{repository}", names, repository)
    folder, _, name = str(tag.get("url") or "").rpartition("/")
    return Source(folder, (name,), None) if name else None


def known_digests(model: ClipModel) -> tuple[str, ...]:
    """Return the known beginnings of the SHA-256 of a tag's file, without a request."""
    if model.sha256 is not None:
        return (model.sha256,)
    found = source(model)
    if found is None:
        return ()
    if found.repository is None:
        return tuple(_published_digest(found.page).values())
    return cached_digests(found.repository, found.names, model.revision)


def _published_digest(page: str) -> dict[str, str]:
    """Return the digest in an address; OpenAI's addresses end with FOLDER/SHA256/NAME."""
    last = page.rpartition("/")[2]
    return {"sha256": last} if re.fullmatch("[0-9a-f]{64}", last) else {}


def fetch(model: ClipModel) -> HubFile:
    """Return the file with the weights of a tag: from this machine, a cache, or the network.

    Raises:
        UserError: If it cannot be fetched; one line says which file to get and how to give it.
        Interrupted: If the process was asked to stop during the download.
    """
    if model.local is not None:
        return HubFile(Path(model.local), None, file_digest(Path(model.local)))
    found = source(model)
    if found is None:
        raise UserError(f"model.weights={model.weights}: open_clip names no file of these weights")
    name = found.names[0]
    try:
        if found.repository is not None:
            return hub_file(
                found.repository, *found.names, revision=model.revision, sha256=model.sha256
            )
        digests = {"sha256": model.sha256} if model.sha256 else _published_digest(found.page)
        path = web_file(f"{found.page}/{name}", _CACHE.expanduser() / name, digests=digests)
        return HubFile(path, None, file_digest(path))
    except Unavailable as error:
        raise UserError(
            f"the weights {model.weights} of {model.architecture} cannot be fetched "
            f"({error.reason}); where there is no network, get {name} of {found.page} and give "
            f"model.local=FOLDER/{name}, or try model=SmallCLIP, which needs none"
        ) from error


def identity(model: ClipModel) -> dict[str, Any]:
    """Return the identity of the hub files that a model reads, as plain data; fetch nothing.

    This is the revision, if one is given; otherwise the weights' SHA-256 or commit, and the commits
    of the transformers repositories that the text tower needs.
    """
    own = model.checkpoint is not None
    if model.revision is not None:
        return {} if own else {"revision": model.revision}
    named: dict[str, Any] = {}
    found = None if own else source(model)
    if found is not None and found.repository is not None:
        named = dict(pinned(model, found.repository))
    texts = {name: commit_of(name) for name in _of_transformers(model).values()}
    return named | ({"texts": texts} if texts else {})


def _of_transformers(model: ClipModel) -> dict[str, str]:
    """Return the hub repositories that a text tower needs, by open_clip's keys."""
    import open_clip

    text = {} if model.config else open_clip.get_model_config(model.architecture)["text_cfg"]
    return {key: text[key] for key in _OF_TRANSFORMERS if text.get(key)}


#: Keys of transformers repositories in open_clip's architectures, and how each is fetched.
_OF_TRANSFORMERS: dict[str, Callable[[str], Path]] = {
    "hf_model_name": lambda repository: hub_file(repository, "config.json").path.parent,
    "hf_tokenizer_name": hub_tokenizer,
}


def of_transformers(model: ClipModel, key: str) -> Path | None:
    """Return a folder with the transformers files that a text tower needs.

    Args:
        model: The model's configuration, checked.
        key: open_clip's key of their repository: ``hf_model_name``, of a text tower, or
            ``hf_tokenizer_name``.

    Returns:
        The folder; None for architectures that need no such files (most of them).

    Raises:
        UserError: If they cannot be fetched; one line says how to get them.
        Interrupted: If the process was asked to stop during the download.
    """
    name = _of_transformers(model).get(key)
    try:
        return _OF_TRANSFORMERS[key](name) if name else None
    except Unavailable as error:
        raise UserError(
            f"model.architecture={model.architecture} needs files of {name}, which cannot be "
            f"fetched ({error.reason}); where there is no network, run `hf download {name}` "
            "elsewhere and place the folder that it fills, ~/.cache/huggingface/hub, in the same "
            "place here"
        ) from error


def put_file(built: nn.Module, path: Path, model: ClipModel) -> None:
    """Load the weights of a file into a model.

    Args:
        built: The model.
        path: A .safetensors file; a .pt, .pth, .th or .bin file that holds only tensors; or an
            .npz file of big_vision, for its SigLIP models.
        model: Its configuration.

    Raises:
        UserError: If the file is damaged, would run code, or has weights of another architecture.
    """
    if is_program(path) and (found := source(model)) is not None:
        raise UserError(
            f"{path}: is TorchScript, a program that holds its weights, and no program of a file "
            f"is run; get {found.names[0]} of {found.page} instead"
        )
    if path.suffix == ".npz":
        _put_big_vision(built, path, model)
    else:
        put(built, load_weights(path), model)


def _put_big_vision(built: nn.Module, path: Path, model: ClipModel) -> None:
    """Load the arrays of a big_vision file into a model, with pickles disabled in numpy."""
    from open_clip.convert import load_big_vision_weights  # type: ignore[import-untyped]

    try:
        load_big_vision_weights(built, str(path))
    except Exception as error:  # whatever it does not find
        raise UserError(
            f"{path}: no file of big_vision with the weights of {model.architecture} "
            f"({reason_of(error)})"
        ) from error
    check_weights(built.state_dict(), str(path))


def put(built: nn.Module, weights: dict[str, Tensor], model: ClipModel) -> None:
    """Load weights into a model; every parameter must be given.

    Args:
        built: The model.
        weights: Tensors by name; converted to open_clip's names and shapes where needed.
        model: Its configuration.

    Raises:
        UserError: If they are not those of the architecture.
    """
    needed = built.state_dict()
    found = _converted(built, under_prefix(weights, needed, _COMPUTED), model)
    given = {n: v for n, v in found.items() if n in needed or not n.endswith(_COMPUTED)}
    faults, wrong = name_faults(given, needed, _COMPUTED), wrong_shapes(given, needed)
    faults += [f"it has {listed(wrong)}"] if wrong else []
    if faults:
        raise UserError(f"the weights are not those of {model.architecture}: {'; '.join(faults)}")
    built.load_state_dict(given, strict=False)


def _converted(built: nn.Module, weights: dict[str, Tensor], model: ClipModel) -> dict[str, Tensor]:
    """Return weights under the names and in the shapes that `open_clip.load_checkpoint` gives them.

    `load_checkpoint` reads files itself; these weights are already read and checked.
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
        # The bias adds the same to every class. Only models trained with SigLIP's loss have one.
        found.setdefault("logit_bias", torch.zeros_like(found["logit_scale"]))
    _resize_positions(built, found)
    return found


def _resize_positions(built: nn.Module, weights: dict[str, Tensor]) -> None:
    """Resize the positional embeddings in place, for images or captions of another size.

    Those that cannot be resized are left unchanged; their shapes are refused later.
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
