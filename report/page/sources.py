"""Report: which runs the rows came from: how many, of what, from which commit, in what time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from experiments.frame.record_files import read_record
from report.results import Results
from report.rows import MEASURED_COLUMNS, all_bases, read_cells
from report.sentences import SUFFIX

_HOUR = 3600
_LETTERS = 7
_DAY = len("2026-01-31")
UNKNOWN = "not recorded"
KEYS = ("protocol", "model", "dataset", "method", "variant")
# What tells lines apart, and the seed.
_of: Callable[[Mapping[Any, Any]], tuple[str, ...]] = itemgetter(*KEYS, "seed")


@dataclass
class Line:
    """Runs of one kind.

    Attributes:
        labels: Column to text: those of `KEYS`.
        runs: Name to record, empty where there is none.
        bases: Name to record of the runs that they build on, over any number of levels.
    """

    labels: Mapping[str, str]
    seeds: set[str] = field(default_factory=set)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0
    bases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def commits(self) -> str:
        """The commits of their code, the first letters; a star for uncommitted changes."""
        records = [*self.runs.values(), *self.bases.values()]
        found = {_commit(record) for record in records if record.get("commit")}
        return ", ".join(sorted(found)) or UNKNOWN

    @property
    def hardware(self) -> str:
        """What they ran on, as far as it was recorded."""
        facts = [record.get("facts") or {} for record in self.runs.values()]
        devices = sorted({str(each.get("device") or UNKNOWN) for each in facts})
        machines = sorted({_machine(record) for record in self.runs.values()})
        return f"{', '.join(devices)}; machine {', '.join(machines)}"

    @property
    def started(self) -> str:
        """The days on which they began."""
        found = (record.get("started") for record in self.runs.values())
        days = sorted({str(text)[:_DAY] for text in found if text})
        return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else UNKNOWN


def hours(records: Iterable[Mapping[str, Any]]) -> str:
    """The hours of CPU time of runs; `not recorded` where none says."""
    found = [record.get("cpu_seconds") for record in records]
    known = [float(seconds) for seconds in found if seconds is not None]
    return f"{sum(known) / _HOUR:.2f}" if known else UNKNOWN


def _commit(record: Mapping[str, Any]) -> str:
    return f"{str(record['commit'])[:_LETTERS]}{'*' if record.get('dirty') else ''}"


def _machine(record: Mapping[str, Any]) -> str:
    if not record.get("machine"):
        return UNKNOWN
    names = (record.get(key) for key in ("processor", "machine", "accelerator"))
    return ", ".join([*filter(None, names), f"{record.get('cores', UNKNOWN)} cores"])


@dataclass(frozen=True)
class Source:
    """A file of rows, or a folder of runs.

    Attributes:
        name: Stem of the file; empty for the folder.
        path: Relative to the results folder.
    """

    task: str
    name: str
    path: str
    lines: tuple[Line, ...]

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Name to record of all its runs, and of those that they build on."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.lines:
            found |= line.runs | line.bases
        return found


def find_sources(folder: Path, results: Results, scale: str) -> list[Source]:
    """One source per committed file with rows at this scale, and one per task with local runs."""
    sources = []
    for path in sorted((folder / "measured").glob("*/*.csv")):
        if path.stem.endswith(SUFFIX):
            continue
        records = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        found = (row for row, _ in read_cells(path, MEASURED_COLUMNS) if row["scale"] == scale)
        lines = _lines(((_of(row), row["run"]) for row in found), records.get)
        if lines:
            sources.append(
                Source(path.parent.name, path.stem, str(path.relative_to(folder)), lines)
            )
    fresh = results.ours[results.ours["origin"] != "measured"]
    for task, rows in fresh.groupby("task", sort=False):
        read = cache(partial(_record, folder / "runs" / str(task)))
        runs = ((_of(row), _run_of(row)) for row in rows.to_dict("records"))
        sources.append(Source(str(task), "", f"runs/{task}", _lines(runs, read)))
    return sources


def _run_of(row: Mapping[Any, Any]) -> str:
    return Path(str(row["where"]).rpartition(":")[0]).parent.name


def _record(runs: Path, run: str) -> dict[str, Any] | None:
    return read_record(runs / run)


def _lines(
    rows: Iterable[tuple[tuple[str, ...], str]], find: Callable[[str], dict[str, Any] | None]
) -> tuple[Line, ...]:
    lines: dict[tuple[str, ...], Line] = {}
    for ((*texts, seed), run), count in Counter(rows).items():
        line = lines.setdefault((*texts,), Line(dict(zip(KEYS, texts, strict=True))))
        line.seeds.add(seed)
        if run not in line.runs:
            line.runs[run] = find(run) or {}
            line.bases |= all_bases(line.runs[run], find)
        line.rows += count
    return tuple(lines.values())
