"""The run folders under `results/runs`: what each run's record says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.frame.record_files import RECORD, read_record
from experiments.frame.runner import is_held

#: The states of a run folder. A record says the first four; `abandoned` is a run whose record says
#: running while no process of this machine holds its lock.
STATES = ("done", "running", "failed", "interrupted", "abandoned", "unreadable", "empty")
_HEAD = ("status", "stage", "seed", "seconds", "attempts", "commit", "name")


@dataclass(frozen=True)
class Found:
    """A run folder, with one of `STATES`, and its record; that is empty where none can be read."""

    folder: Path
    state: str
    record: dict[str, Any]

    @property
    def reason(self) -> str:
        """Why it failed, in one line; empty if it did not."""
        if self.state != "failed":
            return ""
        return next(iter(str(self.record.get("error", "")).strip().splitlines()), "not recorded")

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the columns of a list."""
        record, seconds = self.record, self.record.get("wall_seconds")
        return (
            self.state,
            str(record.get("stage", "")),
            str(record.get("seed", "")),
            f"{seconds:.1f}" if isinstance(seconds, int | float) else "",
            str(record.get("attempts", "")),
            str(record.get("commit") or "")[:7],
            f"{self.folder.parent.name}/{self.folder.name}",
        )


def find(folder: Path) -> Found:
    """A run folder, which may be absent, with its state.

    The reason why a record cannot be read is logged.
    """
    record = read_record(folder)
    if record is None:
        unread = "unreadable" if (folder / RECORD).exists() else "empty"
        return Found(folder, "running" if is_held(folder) else unread, {})
    state = str(record.get("status"))
    if state == "running" and not is_held(folder):
        state = "abandoned"
    return Found(folder, state if state in STATES else "unreadable", record)


def find_all(runs: Path, task: str | None, state: str | None) -> list[Found]:
    """All runs, or those of a task or in a state, sorted by task and name."""
    folders = sorted(path for path in runs.glob(f"{task or '*'}/*") if path.is_dir())
    return [found for found in map(find, folders) if state in (None, found.state)]


def lines(found: list[Found]) -> Iterator[str]:
    """A head, a line for each run, below a failed one its reason, and how many by state."""
    table = [_HEAD, *(run.cells() for run in found)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    reasons = ["", *(run.reason for run in found)]
    for cells, reason in zip(table, reasons, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()
        if reason:
            yield f"    {reason}"
    yield count("runs", [run.state for run in found])


def count(what: str, states: list[str]) -> str:
    """One line that says how many there are of each state."""
    parts = ", ".join(f"{number} {state}" for state, number in Counter(states).most_common())
    return f"{len(states)} {what}{': ' if parts else ''}{parts}"
