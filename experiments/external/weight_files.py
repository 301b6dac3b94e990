"""Weights of networks, read from files. No code is ever loaded."""

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

#: Mismatches that a line names.
_NAMED = 3
_PICKLES = (".th", ".pt", ".pth", ".bin", ".ckpt", ".tar")
#: Keys under which a checkpoint may hold the weights, beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
#: What DataParallel, torch.compile and Lightning, or a class around the network, put before names.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
#: Where stable-baselines3's archive has the weights.
_POLICY = "policy.pth"


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network.

    Args:
        path: A ``.safetensors`` file; a ``.th``, ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` or ``.tar``
            file of PyTorch's that holds tensors by name, alone or under a usual key; or a ``.zip``
            of stable-baselines3.

    Returns:
        The tensors by name; what wrappers of networks put before all names is removed.

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
    return _unpickled(path, path)


def _unpickled(content: Path | IO[bytes], path: Path) -> object:
    try:
        with warnings.catch_warnings():  # of what cannot be read in the end
            warnings.simplefilter("ignore")
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        raise UserError(
            f"{path}: not a complete file of tensors alone ({reason_of(error)}); "
            "torch.save(network.state_dict(), FILE) writes one"
        ) from error


def _policy(path: Path) -> object:
    """Read the weights in an archive of stable-baselines3; nothing else in it is read.

    Raises:
        UserError: If it is no such archive, or they ask for code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(_POLICY))
            told = json.loads(archive.read("data")) if "data" in archive.namelist() else {}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{path}: no archive of stable-baselines3, with a file {_POLICY} in it"
        ) from error
    # Its text tells the class; what is serialised beside it is left alone.
    options = told.get("policy_kwargs") if isinstance(told, dict) else None
    activation = str((options or {}).get("activation_fn", "ReLU"))
    if "ReLU" not in activation or "LeakyReLU" in activation:
        raise UserError(f"{path}: its network has {activation} between its layers, ours has ReLU")
    return _unpickled(content, path)


def reason_of(error: Exception) -> str:
    """Return why PyTorch or numpy refuses a file, without their advice to trust the file."""
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
        # The mask of attention is minus infinity, and computed anew.
        if not value.isfinite().all() and not name.endswith("attn_mask"):
            raise UserError(f"{origin}: {name} has values that are not finite")
    weights = {name: value.detach() for name, value in found.items()}
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _has_tensors(found: object) -> bool:
    """Whether something holds tensors by name."""
    return isinstance(found, Mapping) and any(isinstance(v, Tensor) for v in found.values())


def under_prefix(
    given: dict[str, Tensor], needed: Iterable[str], optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return the part of weights that a network needs, where all of it stands behind one prefix.

    So it is in files of Lightning, whose loss has weights too. Others are returned as they are.

    Args:
        given: Weights by name.
        needed: The names of the network's.
        optional: Endings of names that may be absent.
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
