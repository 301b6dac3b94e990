"""Reads the file that wandb writes offline: protocol buffers in the log format of LevelDB."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The file begins with a mark of its own, which is a part of the first block.
_MARK, _BLOCK, _HEAD = 7, 32768, 7
_WHOLE, _FIRST, _LAST = 1, 2, 4
#: Seconds until the file of a run that has ended is whole, and between two looks at it.
_PATIENCE, _INTERVAL = 30.0, 0.05


@dataclass
class Logged:
    """What is in the file of a run.

    Attributes:
        run: Its description: id, name, group, kind of job, project.
        config: The configuration.
        history: What was logged, step by step.
        summary: The final numbers.
        exit_code: How it ended; None if it did not.
    """

    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def _messages(content: bytes) -> Iterator[bytes]:
    assert content.startswith(b":W&B")
    place, message = _MARK, b""
    while place + _HEAD <= len(content):
        if _BLOCK - place % _BLOCK < _HEAD:  # too little room for a head: filled with zeros
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)  # behind a checksum
        part = content[place + _HEAD : place + _HEAD + length]
        message = part if kind in (_WHOLE, _FIRST) else message + part
        if kind in (_WHOLE, _LAST):
            yield message
        place += _HEAD + length


def _values(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def read_log(path: Path) -> Logged:
    """Read the file of a run, ``run-<id>.wandb``."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = Logged()
    for message in _messages(path.read_bytes()):
        record = Record()
        record.ParseFromString(message)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= _values(record.run.config.update)
        elif kind == "config":
            found.config |= _values(record.config.update)
        elif kind == "history":
            found.history.append(_values(record.history.item))
        elif kind == "summary":
            found.summary |= _values(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def read_ended_log(path: Path) -> Logged:
    """Read the file of a run that has ended in this process.

    ``finish()`` returns while wandb's own process still writes; it is waited for when Python ends.
    """
    deadline = time.monotonic() + _PATIENCE
    while (found := read_log(path)).exit_code is None and time.monotonic() < deadline:
        time.sleep(_INTERVAL)
    return found
