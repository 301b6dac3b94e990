"""The file of a record: it carries its own checksum. Nothing heavy is imported to read it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from experiments.frame.files import digest, sha256

log = logging.getLogger(__name__)

RECORD = "record.json"
#: Its key in a record: the checksum of all others.
SEAL = "record_sha256"


def seal(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the checksum of its content, whatever the order of its keys."""
    content = {key: value for key, value in record.items() if key != SEAL}
    # As it is read back: keys are text then, and tuples are lists.
    plain = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return content | {SEAL: digest(plain)}


def parse_record(text: str) -> dict[str, Any]:
    """Read the text of a record.

    Args:
        text: JSON. Records of earlier versions have no checksum of themselves and are taken as
            they are.

    Raises:
        ValueError: If it is no JSON object, or was changed since it was written; one line.
    """
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError("not an object")
    if record.get(SEAL, "") not in ("", seal(record)[SEAL]):
        raise ValueError("it does not match its checksum: it was changed")
    return record


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run folder, or None where there is none that can be read."""
    path = folder / RECORD
    try:
        record = parse_record(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); the run is computed again", path, error)
        return None
    return record


def is_as_recorded(path: Path) -> bool:
    """Whether a file of a run has the checksum in its record; True where none is recorded."""
    artefacts = (read_record(path.parent) or {}).get("artefacts")
    expected = artefacts.get(path.name) if isinstance(artefacts, dict) else None
    return expected is None or sha256(path) == expected
