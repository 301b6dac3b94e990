"""Weights of networks, read from files without running code."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from experiments.frame.errors import UserError, one_line
from experiments.frame.files import load_tensors

log = logging.getLogger(__name__)

#: Largest number of mismatches in a message.
_NAMED = 3
_PICKLES = (".th", ".pt", ".pth", ".bin", ".ckpt", ".tar")
#: Keys of the weights in a checkpoint with further content.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
#: Name prefixes of DataParallel, torch.compile, Lightning and other wrapper classes.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
#: File of the weights in stable-baselines3's archive.
_POLICY = "policy.pth"


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network.

    Args:
        path: A ``.safetensors`` file; a ``.th``, ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` or ``.tar``
            file of PyTorch that holds tensors by name, at top level or under a common key; or a
            ``.zip`` file of stable-baselines3.

    Returns:
        The tensors by name, without the prefixes of wrapper classes.

    Raises:
        UserError: If the file is missing, damaged, of another kind, would run code, or has a value
            that is not finite.
    """
    if path.suffix == ".safetensors":
        found: object = load_tensors(path, own=False)[0]
    elif path.suffix in _PICKLES:
        found = unpickle(path)
    elif path.suffix == ".zip":
        found = _policy(path)
    else:
        kinds = ", ".join((".safetensors", *_PICKLES, ".zip"))
        raise UserError(f"{path}: weights are read from files of these kinds: {kinds}")
    return check_weights(found, str(path))


def unpickle(path: Path) -> object:
    """Read a pickle that holds only tensors, without running code.

    Raises:
        UserError: If it is missing, damaged, or needs code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if is_program(path):
        raise UserError(
            f"{path}: is TorchScript, a program that holds its weights, and no program of a file "
            "is run; give a file of the weights alone"
        )
    return _unpickled(path, path)


def _unpickled(content: Path | IO[bytes], path: Path) -> object:
    try:
        with warnings.catch_warnings():  # warnings about a file that fails anyway
            warnings.simplefilter("ignore")
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{path}: not a complete file of tensors alone ({reason_of(error)}); "
            "torch.save(network.state_dict(), FILE) writes one"
        ) from error


def _policy(path: Path) -> object:
    """Read only the weights in an archive of stable-baselines3.

    Raises:
        UserError: If it is not such an archive, or the weights need code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(_POLICY))
            told = json.loads(archive.read("data")) if "data" in archive.namelist() else {}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{path}: no archive of stable-baselines3, with a file {_POLICY} in it"
        ) from error
    # Only the text with the class is read, not the serialised objects.
    options = told.get("policy_kwargs") if isinstance(told, dict) else None
    activation = str((options or {}).get("activation_fn", "ReLU"))
    if "ReLU" not in activation or "LeakyReLU" in activation:
        raise UserError(f"{path}: its network has {activation} between its layers, ours has ReLU")
    return _unpickled(content, path)


def reason_of(error: Exception) -> str:
    """Return the reason why PyTorch or numpy refuses a file, without their advice to trust it."""
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return f"it asks for {code[1]}"
    if "allow_pickle" in str(error):
        return "it holds other things than arrays"
    if "weights_only" in str(error):
        return "it is damaged, or holds other things"
    if "PytorchStreamReader" in str(error):
        return "it is cut or damaged"
    return one_line(error)


def is_program(path: Path) -> bool:
    """Whether a file is TorchScript, the format of OpenAI's models."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def check_weights(found: object, origin: str) -> dict[str, Tensor]:
    """Return the tensors by name that a checkpoint holds.

    Args:
        found: The content of a file.
        origin: The source, for messages.

    Raises:
        UserError: If there are none, or one has a value that is not finite.
    """
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            others = [str(name) for name in found if name != key and _has_tensors(found[name])]
            if others:
                log.warning("%s: takes the weights of %s, not of %s", origin, key, listed(others))
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise UserError(f"{origin}: holds no tensors by name, but a {type(found).__name__}")
    if not _has_tensors(found):
        names = listed([str(name) for name in found])
        raise UserError(
            f"{origin}: holds {names}, and no tensors by name, alone or under one of the keys "
            f"{', '.join(_WRAPPERS)}"
        )
    for name, value in found.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not isinstance(name, str) or not dense or value.is_meta or value.is_quantized:
            raise UserError(
                f"{origin}: {name} is a {type(value).__name__}, not an array of numbers"
            )
        # The attention mask is minus infinity; the model recomputes it.
        if not value.isfinite().all() and not name.endswith("attn_mask"):
            raise UserError(f"{origin}: {name} has values that are not finite")
    weights = {name: value.detach() for name, value in found.items()}
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _has_tensors(found: object) -> bool:
    """Whether an object holds tensors by name."""
    return isinstance(found, Mapping) and any(isinstance(v, Tensor) for v in found.values())


def under_prefix(
    given: dict[str, Tensor], needed: Iterable[str], optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return the needed part of the weights, if all needed names have a common prefix.

    Files of Lightning are like this if the loss has weights, too. Others are returned unchanged.

    Args:
        given: Weights by name.
        needed: The names of the network's weights.
        optional: Suffixes of names that may be missing.
    """
    wanted = [name for name in needed if not name.endswith(optional)]
    if not wanted or all(name in given for name in wanted):
        return given
    ends = (n.removesuffix(wanted[0]) for n in given if n.endswith(f".{wanted[0]}"))
    found = [prefix for prefix in ends if all(prefix + name in given for name in wanted)]
    if len(found) != 1:
        return given
    others = [name for name in given if not name.startswith(found[0])]
    log.warning("takes the weights of %s, and leaves out %s", found[0], listed(others))
    return {n.removeprefix(found[0]): v for n, v in given.items() if n.startswith(found[0])}


def name_faults(
    given: Mapping[str, Tensor], needed: Mapping[str, Tensor], optional: tuple[str, ...]
) -> list[str]:
    """Return the faults in the names of weights as at most two texts; empty if there are none.

    Args:
        given: Weights by name.
        needed: The names of the network's weights.
        optional: Suffixes of names that may be missing.
    """
    missing = [n for n in needed if n not in given and not n.endswith(optional)]
    extra = [name for name in given if name not in needed]
    faults = [f"it needs {listed(missing)}"] if missing else []
    return faults + ([f"it has no {listed(extra)}"] if extra else [])


def wrong_shapes(given: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> list[str]:
    """Return a text for each weight whose shape is not the network's."""
    return [
        f"{name} {list(value.shape)} instead of {list(needed[name].shape)}"
        for name, value in given.items()
        if name in needed and value.shape != needed[name].shape
    ]


def listed(names: list[str]) -> str:
    """Return the first names, and the number of further ones."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
