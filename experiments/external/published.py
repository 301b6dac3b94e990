"""Published weights: the pins of their files, and comparison with local files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.external.hub import cached_digest, commit_of
from experiments.frame.conf import read
from experiments.frame.errors import UserError
from experiments.frame.files import file_digest

#: Keys that pin a published file, and their numbers of digits.
_PINS = {"revision": 40, "sha256": 64}


def drop_pins(section: Any, usual: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Drop the pins in ``conf/`` if another file is configured.

    Args:
        section: A section with ``revision`` and ``sha256``; changed in place.
        usual: The values in ``conf/``.
        keys: The keys that identify the file.
    """
    if any(getattr(section, key) != usual.get(key) for key in keys):
        for pin in _PINS:
            if getattr(section, pin) == usual.get(pin):
                setattr(section, pin, None)


def unpin(model: Any) -> None:
    """Drop the pins in conf/model/ if other weights are configured.

    Args:
        model: A section ``model``; changed in place.

    Raises:
        UserError: If ``revision`` or ``sha256`` is malformed.
    """
    usual: Any = OmegaConf.to_container(read(f"model/{model.name}"))
    drop_pins(model, usual, ("architecture", "weights"))
    for key, digits in _PINS.items():
        value = getattr(model, key)
        if value is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
            raise UserError(
                f"model.{key}={value}: must be whole, {digits} digits from 0 to 9 and a to f"
            )


def settle(model: Any, what: str, digests: tuple[str, ...]) -> None:
    """Check whether a user's file is the published one.

    If so, ``checkpoint`` becomes ``local``, and the run is that of the published weights.

    Args:
        model: A section ``model``; changed in place.
        what: The published weights, for messages; "" if the configuration asks for none.
        digests: The known SHA-256 of their file, or its beginning.

    Raises:
        UserError: If ``local`` is another file, or nothing is known to compare it with.
    """
    given = model.local
    if given is None:
        if model.checkpoint is not None and _is_one_of(Path(model.checkpoint), digests):
            model.local, model.checkpoint = model.checkpoint, None
        return
    own = f"weights of your own are given by model.checkpoint={given}"
    if model.checkpoint is not None:
        raise UserError("model.local and model.checkpoint exclude each other; give one of the two")
    if not what:
        raise UserError(f"model.local={given} is for a file of published weights; {own}")
    if not Path(given).is_file():
        raise UserError(f"model.local={given}: no such file")
    if not digests:
        raise UserError(
            f"model.local={given}: nothing here tells what the file of {what} is; give its SHA-256 "
            "too, model.sha256=HEX, which the hub's page of the file shows"
        )
    if not _is_one_of(Path(given), digests):
        raise UserError(
            f"model.local={given}: is not the file of {what} (its SHA-256 is "
            f"{file_digest(Path(given))}, not {' or '.join(digests)}); {own}"
        )


def pinned(model: Any, repository: str) -> dict[str, str | None]:
    """Return the pin that identifies a published file of the hub.

    Args:
        model: A section ``model``, settled.
        repository: Repository on the hub.

    Returns:
        The revision, else the file's SHA-256, else the current commit of the main branch.
    """
    given = {key: getattr(model, key) for key in _PINS if getattr(model, key) is not None}
    return dict(list(given.items())[:1]) or {"commit": commit_of(repository)}


def cached_digests(
    repository: str, names: tuple[str, ...], revision: str | None
) -> tuple[str, ...]:
    """Return the SHA-256 of the cached files of a hub repository."""
    found = (cached_digest(repository, name, revision) for name in names)
    return tuple(digest for digest in found if digest is not None)


def _is_one_of(path: Path, digests: tuple[str, ...]) -> bool:
    return bool(digests) and file_digest(path).startswith(digests)
