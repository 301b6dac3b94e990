"""The file of a record, with its checksum. Reading it needs no heavy imports."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from experiments.frame.files import digest, sha256

log = logging.getLogger(__name__)

RECORD = "record.json"
#: Key of the checksum in a record; it covers all other keys.
SEAL = "record_sha256"


def seal(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the checksum of its content, independent of the order of keys."""
    content = {key: value for key, value in record.items() if key != SEAL}
    # As read back from JSON: keys are strings, and tuples are lists.
    plain = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return content | {SEAL: digest(plain)}


def parse_record(text: str) -> dict[str, Any]:
    """Read the text of a record.

    Args:
        text: JSON. Records of earlier versions have no checksum and are accepted.

    Raises:
        ValueError: If it is not a JSON object, or was changed after writing; one line.
    """
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError("not an object")
    if record.get(SEAL, "") not in ("", seal(record)[SEAL]):
        raise ValueError("it does not match its checksum: it was changed")
    return record


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run folder, or None if there is no readable one."""
    path = folder / RECORD
    try:
        record = parse_record(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); the run is computed again", path, error)
        return None
    return record


def finished_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished run from its folder.

    Raises:
        ValueError: If there is no whole record, or its run has not finished; one line.
    """
    path = folder / RECORD
    try:
        record = parse_record(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a whole record ({error})") from None
    if record.get("status") != "done":
        raise ValueError(f"{path}: the run is not finished, its status is {record.get('status')}")
    return record


def is_as_recorded(path: Path) -> bool:
    """Whether a file of a run has the checksum in its record; True if none is recorded."""
    artefacts = (read_record(path.parent) or {}).get("artefacts")
    expected = artefacts.get(path.name) if isinstance(artefacts, dict) else None
    return expected is None or sha256(path) == expected
