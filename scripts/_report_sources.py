"""Report: which runs the rows came from: how many, of what, from which commit, in what time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts._results import Results
from scripts._sentences import SUFFIX

_HOUR = 3600
_COMMIT = 7
UNKNOWN = "not recorded"


@dataclass
class Line:
    """Runs of one kind.

    Attributes:
        labels: Column to text: protocol, model, data set.
        seeds: Their seeds.
        runs: Name to record, empty where there is none.
        rows: How many rows they have.
    """

    labels: Mapping[str, str]
    seeds: set[str] = field(default_factory=set)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0

    def _texts(self, name: str) -> list[str]:
        found = (record.get(name) or UNKNOWN for record in self.runs.values())
        return sorted({str(each) for each in found})

    @property
    def commits(self) -> str:
        """The commits of their code, the first letters; a star for uncommitted changes."""
        marks = {
            f"{str(record.get('commit') or UNKNOWN)[:_COMMIT]}{'*' if record.get('dirty') else ''}"
            for record in self.runs.values()
        }
        return ", ".join(sorted(marks))

    @property
    def hardware(self) -> str:
        """What they ran on, as far as it was recorded."""
        devices = {
            str(record.get("facts", {}).get("device") or UNKNOWN) for record in self.runs.values()
        }
        machines = {
            f"{record['machine']}, {record['cores']} cores"
            for record in self.runs.values()
            if "cores" in record
        }
        return "; ".join([", ".join(sorted(devices)), *sorted(machines)])

    @property
    def started(self) -> str:
        """The days on which they began."""
        days = sorted({text[:10] for text in self._texts("started")})
        return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else UNKNOWN

    @property
    def hours(self) -> float:
        """CPU time of these runs, without those that they build on, in hours."""
        return sum(float(each.get("cpu_seconds", 0.0)) for each in self.runs.values()) / _HOUR


@dataclass(frozen=True)
class Source:
    """A file of rows, or a folder of runs.

    Attributes:
        task: The task.
        name: Stem of the file; `runs` for the folder.
        path: Relative to the results folder.
        lines: Its runs.
    """

    task: str
    name: str
    path: str
    lines: tuple[Line, ...]


def find_sources(folder: Path, results: Results, scale: str) -> list[Source]:
    """Look up the runs of all rows.

    Args:
        folder: The results folder.
        results: Its rows, loaded and found valid.
        scale: Scale of the rows that count.

    Returns:
        One source per committed file with rows at this scale, and one per task with rows of runs
        on this machine.
    """
    sources = []
    for path in sorted((folder / "measured").glob("*/*.csv")):
        if path.stem.endswith(SUFFIX):
            continue
        records = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["scale"] == scale]
        lines = _lines((row, row["run"], records[row["run"]]) for row in rows)
        if lines:
            sources.append(
                Source(path.parent.name, path.stem, str(path.relative_to(folder)), lines)
            )
    fresh = results.ours[results.ours["origin"] != "measured"]
    for task, rows in fresh.groupby("task", sort=False):
        sources.append(
            Source(str(task), "runs", f"runs/{task}", _lines(_fresh(rows.to_dict("records"))))
        )
    return sources


def _fresh(
    rows: Sequence[Mapping[Any, Any]],
) -> Iterator[tuple[Mapping[Any, Any], str, dict[str, Any]]]:
    records: dict[Path, dict[str, Any]] = {}
    for row in rows:
        run = Path(str(row["where"]).rpartition(":")[0]).parent
        if run not in records:
            records[run] = json.loads((run / "record.json").read_text(encoding="utf-8"))
        yield row, run.name, records[run]


def _lines(
    rows: Iterable[tuple[Mapping[Any, Any], str, dict[str, Any]]],
) -> tuple[Line, ...]:
    lines: dict[tuple[str, ...], Line] = {}
    for row, run, record in rows:
        labels = {name: str(row[name]) for name in ("protocol", "model", "dataset")}
        line = lines.setdefault(tuple(labels.values()), Line(labels))
        line.seeds.add(str(row["seed"]))
        line.runs[run] = record
        line.rows += 1
    return tuple(lines.values())
