"""Weights of networks, read from files. No code is ever loaded."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import UserError, one_line
from experiments.files import load_tensors

#: Mismatches that a line names.
_NAMED = 3
_PICKLES = (".th", ".pt", ".pth")
#: Keys under which a checkpoint may hold the weights, beside other things.
_WRAPPERS = ("state_dict", "model")


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network.

    Args:
        path: A ``.safetensors`` file, or a ``.th``, ``.pt`` or ``.pth`` file that holds tensors by
            name, alone or under ``state_dict`` or ``model``.

    Returns:
        The tensors by name; a ``module.`` before all names is removed.

    Raises:
        UserError: If the file is missing, damaged, of another kind, would run code, or has a value
            that is not finite.
    """
    if path.suffix == ".safetensors":
        found: object = load_tensors(path, own=False)[0]
    elif path.suffix in _PICKLES:
        found = unpickle(path)
    else:
        kinds = ", ".join((".safetensors", *_PICKLES))
        raise UserError(f"{path}: weights are read from files of these kinds: {kinds}")
    return check_weights(found, str(path))


def unpickle(path: Path) -> object:
    """Read a pickled file of tensors alone; none of its code is run.

    Raises:
        UserError: If it is missing, damaged, or asks for code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if is_program(path):
        raise UserError(
            f"{path}: is TorchScript, a program that holds its weights, and no program of a file "
            "is run; give a file of the weights alone"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        reason = _reason(error)
        raise UserError(f"{path}: not a complete file of tensors alone ({reason})") from error


def _reason(error: Exception) -> str:
    """Return why PyTorch refuses a file, without its advice to trust the file."""
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return f"it asks for {code[1]}"
    if "weights_only" in str(error):
        return "it is damaged, or holds other things"
    return one_line(error)


def is_program(path: Path) -> bool:
    """Whether a file is TorchScript, as OpenAI publishes its models."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def check_weights(found: object, origin: str) -> dict[str, Tensor]:
    """Return the tensors by name that a checkpoint holds.

    Args:
        found: What was read from a file.
        origin: Where from, for messages.

    Raises:
        UserError: If there are none, or one has a value that is not finite.
    """
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise UserError(f"{origin}: holds no tensors by name, but a {type(found).__name__}")
    for name, value in found.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not isinstance(name, str) or not dense or value.is_meta or value.is_quantized:
            raise UserError(
                f"{origin}: {name} is a {type(value).__name__}, not an array of numbers"
            )
        # The mask of attention is minus infinity, and computed anew.
        if not value.isfinite().all() and not name.endswith("attn_mask"):
            raise UserError(f"{origin}: {name} has values that are not finite")
    # DataParallel puts this before all names.
    prefix = "module." if all(name.startswith("module.") for name in found) else ""
    return {name.removeprefix(prefix): value.detach() for name, value in found.items()}


def name_faults(
    given: Mapping[str, Tensor], needed: Mapping[str, Tensor], optional: tuple[str, ...]
) -> list[str]:
    """Return what is wrong with the names of weights: at most two texts, empty if nothing is.

    Args:
        given: Weights by name.
        needed: The network's.
        optional: Endings of names that may be absent.
    """
    missing = [n for n in needed if n not in given and not n.endswith(optional)]
    extra = [name for name in given if name not in needed]
    faults = [f"it needs {listed(missing)}"] if missing else []
    return faults + ([f"it has no {listed(extra)}"] if extra else [])


def wrong_shapes(given: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> list[str]:
    """Return a text for each weight that the network has in another shape."""
    return [
        f"{name} {list(value.shape)} instead of {list(needed[name].shape)}"
        for name, value in given.items()
        if name in needed and value.shape != needed[name].shape
    ]


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
