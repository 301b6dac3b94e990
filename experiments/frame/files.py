"""Atomic writing and checked reading of files."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.frame.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: The only metadata key: several would be written in a random order, and files would differ.
_METADATA = "equitune"


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it, and rename it to ``path``.

    Args:
        path: The file to create or replace; its folder must exist.
        write: Called with the temporary path.

    Raises:
        OSError: If the disk is full or the folder cannot be written; ``path`` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # some writers create files that only their owner can read
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomic(path, lambda temporary: _write(temporary, content))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically, indented, keys in the given order."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file in UTF-8, without their ends (LF, CRLF or CR).

    A byte-order mark at the start is removed; other Unicode line ends are part of a line.

    Raises:
        UserError: If it is not text, or has a byte-order mark elsewhere.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = [line.removesuffix("\n") for line in stream]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error.reason})") from error
    for number, line in enumerate(lines, 1):
        if "\ufeff" in line:
            raise UserError(
                f"{path}: line {number} has a byte-order mark, as files that were joined have"
            )
    return lines


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the non-empty lines of a list, without white space around them.

    Raises:
        UserError: As `text_lines`, or if a line has an invisible character.
    """
    lines = text_lines(path)
    for number, line in enumerate(lines, 1):
        for sign in line:
            if unicodedata.category(sign) == "Cf":
                name = unicodedata.name(sign, "a control of the format")
                raise UserError(
                    f"{path}: line {number} has an invisible character, U+{ord(sign):04X} "
                    f"({name}); remove it"
                )
    return tuple(line.strip() for line in lines if line.strip())


def is_plain_name(name: str) -> bool:
    """Whether a name in a file refers to an entry of the same folder and is not a path."""
    return name not in ("", ".", "..") and "\0" not in name and Path(name).name == name


def digest(content: str | bytes) -> str:
    """Return the SHA-256 of a text in UTF-8, or of bytes, as hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; read once per process unless the file changes."""
    facts = path.stat()
    return _file_digest(path.absolute(), facts.st_mtime_ns, facts.st_size)


@functools.cache
def _file_digest(path: Path, changed: int, size: int) -> str:
    """Hash a file; modification time and size are only part of the cache key."""
    return sha256(path)


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    """Hash names, types, shapes and bytes of the tensors, and their facts."""
    state = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        state.update(value.flatten().numpy().tobytes())
    return state.hexdigest()


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, with the prefix removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def save_tensors(
    path: Path, tensors: dict[str, Tensor], facts: dict[str, Any] | None = None
) -> None:
    """Write tensors as safetensors, atomically, with a digest of their content inside.

    Args:
        path: The file to create or replace.
        tensors: Tensors by name.
        facts: A JSON object to keep with them, for example the iteration they belong to.
    """
    from safetensors.torch import save_file

    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(facts or {})
    metadata = {_METADATA: json.dumps({"sha256": _digest(content, text), "facts": text})}
    write_atomic(path, lambda temporary: save_file(content, temporary, metadata=metadata))


def load_tensors(
    path: Path, *, own: bool = True, verify: bool = True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file and check its content against the digest inside.

    Args:
        path: The file.
        own: Whether it must be a file of :func:`save_tensors`. If not, a file without a digest
            (written by other software) is read as it is, with no facts.
        verify: Whether to compare the content with the digest, which reads all of it.

    Returns:
        The tensors by name and the facts kept with them.

    Raises:
        UserError: If the file is missing, is not safetensors, was cut, or was changed.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint is a .safetensors file")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a complete safetensors file ({reason})") from error
    if _METADATA not in metadata and not own:
        return tensors, {}
    try:
        kept = json.loads(metadata.get(_METADATA, "{}"))
        facts = json.loads(kept["facts"])
        intact = not verify or kept["sha256"] == _digest(tensors, kept["facts"])
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise UserError(f"{path}: the content does not match its checksum; the file was changed")
    return tensors, facts
