"""What earlier runs tell of jobs: whether their rows are committed, and their CPU time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from experiments.frame.options import AnyConfig
from experiments.frame.record_files import read_record
from experiments.frame.rows import COLUMNS
from experiments.frame.variant import variant
from report.rows import all_bases, read_cells
from report.sentences import SUFFIX

#: The columns that are the same in all rows of a run, but for the seed.
_KEY = ("dataset", "model", "group", "method", "protocol", "scale", "variant")
#: Columns by which runs are of about the same cost, the nearest first.
_ALIKE = (_KEY, ("dataset", "model", "method", "scale"), ("model", "method", "scale"))
_HOUR, _MINUTE = 3600, 60
_UNNAMED = "a processor that was not recorded"


class Earlier(NamedTuple):
    """A finished run.

    Attributes:
        name: Its name.
        cells: The columns of its first row.
        steps: Those of all its rows; "" without training.
    """

    name: str
    stage: str
    cells: Mapping[str, str]
    steps: frozenset[str]
    record: Mapping[str, Any]


class History(NamedTuple):
    """The finished runs of a task, and the records of these and of what they build on, by name."""

    committed: tuple[Earlier, ...]
    local: tuple[Earlier, ...]
    records: Mapping[str, dict[str, Any]]

    def holds(self, config: AnyConfig) -> bool:
        """Whether the committed files have rows of a job."""
        wanted = _labels(config)
        return any(
            each.cells["seed"] == str(config.seed) and _is_like(each, config, wanted, _KEY)
            for each in self.committed
        )

    def like(self, config: AnyConfig) -> Earlier | None:
        """A run of about the cost of a job, with the time of it recorded; None if there is none."""
        wanted = _labels(config)
        for columns in _ALIKE:
            for each in (*self.local, *self.committed):
                if "cpu_seconds" in each.record and _is_like(each, config, wanted, columns):
                    return each
        return None


def read_history(results: Path, task: str) -> History:
    """Read the finished runs of a task; a committed file that cannot be read is a ValueError."""
    records: dict[str, dict[str, Any]] = {}
    for folder in sorted((results / "runs" / task).glob("*/")):
        if (record := read_record(folder)) is not None:
            records[folder.name] = record
    local: list[Earlier] = []
    for name in records:
        with suppress(ValueError, OSError):  # a damaged run tells nothing
            local += _runs(results / "runs" / task / name / "metrics.csv", records, name)
    committed, kept = committed_runs(results / "measured" / task)
    return History(tuple(committed), tuple(local), kept | records)


def committed_runs(folder: Path) -> tuple[list[Earlier], dict[str, dict[str, Any]]]:
    """The committed runs of a task, and their records with those of what they build on, by name.

    A file that cannot be read is a ValueError.
    """
    committed: list[Earlier] = []
    records: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.csv")):
        if path.stem.endswith(SUFFIX) or not path.with_suffix(".json").is_file():
            continue
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        committed += _runs(path, found)
        records = found | records
    return committed, records


def estimate(history: History, jobs: Sequence[AnyConfig]) -> str:
    """A line on the CPU time of jobs, by runs of the same stage, model and method.

    What several jobs build on counts once for each data set and seed.
    """
    own: list[float] = []
    shared: dict[tuple[str, str, int], float] = {}
    processors: set[str] = set()
    for config in jobs:
        run = history.like(config)
        if run is None:
            continue
        own.append(run.record["cpu_seconds"])
        bases = all_bases(run.record, history.records.get)
        for name, record in bases.items():
            shared[name, config.dataset.name, config.seed] = record.get("cpu_seconds") or 0.0
        processors |= {_processor(each) for each in (run.record, *bases.values())}
    if not own:
        return "no estimate of their CPU time: no earlier run is like them"
    counted = f"{len(own)} of {len(jobs)} jobs" if len(own) < len(jobs) else "them"
    seconds = sum(own) + sum(shared.values())
    return (
        f"about {_duration(seconds)} of CPU time for {counted} with all that they "
        f"build on, by earlier runs on {', '.join(sorted(processors))}"
    )


def _labels(config: AnyConfig) -> dict[str, str]:
    names = ("dataset", "model", "group", "method", "protocol", "scale")
    return {name: getattr(config, name).name for name in names} | {"variant": variant(config)}


def _is_like(
    run: Earlier, config: AnyConfig, wanted: Mapping[str, str], columns: Iterable[str]
) -> bool:
    return (
        run.stage == config.stage
        and all(run.cells[name] == wanted[name] for name in columns)
        and _steps(config) <= run.steps
    )


def _steps(config: AnyConfig) -> set[str]:
    """Return steps that the rows of a job have, where no variant tells how long it trains."""
    if getattr(config.task, "finetune", config) is None:
        return {""}
    steps = getattr(getattr(config.task, "finetune", None), "steps", None)
    return {str(step) for step in steps} if isinstance(steps, list) else set()


def _runs(
    path: Path, records: Mapping[str, dict[str, Any]], name: str | None = None
) -> Iterator[Earlier]:
    rows: dict[str, list[dict[str, str]]] = {}
    for cells, _ in read_cells(path, COLUMNS):
        rows.setdefault(name or cells["run"], []).append(cells)
    for run, lines in rows.items():
        record = records.get(run, {})
        if record.get("status") == "done":
            steps = frozenset(line["step"] for line in lines)
            yield Earlier(run, str(record.get("stage")), lines[0], steps, record)


def _processor(record: Mapping[str, Any]) -> str:
    return str(record.get("processor") or _UNNAMED)


def _duration(seconds: float) -> str:
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.0f} min" if seconds >= _MINUTE else f"{seconds:.0f} s"
