"""All rows under `results/`: which runs count, and which of two rows for the same number wins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.frame.files import sha256
from experiments.frame.methods import METHODS
from experiments.frame.record_files import RECORD, parse_record
from experiments.frame.rows import COLUMNS, RESULTS, SCALES, label_of
from report import checksums
from report.rows import (
    REPORTED_COLUMNS,
    Row,
    UnknownMethod,
    read_measured,
    read_metrics,
    read_reported,
    unique_rows,
    with_departures,
)
from report.sentences import SUFFIX

#: The number at the step that a run reports: it has no step of its own.
SELECTED: dict[str, Any] = {"metric": "selected", "iteration": 0}
FOLDERS = ("paper", "measured", "runs")
_FEW = 8
_EDITED = "{path} is not as it was kept ({sums}): its numbers count as they are now"
_UNREGISTERED = (
    "{path} is left out: its method {method!r} is not registered; register the method, or remove "
    "this folder"
)
_GAP = "{path} is missing: {lost}; git checkout restores it"


@dataclass(frozen=True, eq=False)
class Results:
    """All rows that tables and figures are made of; nothing changes its frames.

    Attributes:
        ours: Our rows, columns `COLUMNS` (text, `value` float) plus `where` (`file:line`),
            `origin`: `measured` (committed), `fresh` (only in results/runs) or `replaced` (in both
            with different values: the fresh one is here), and `departures`: option to value, where
            its run departs from the protocol; the column `variant` is their label.
        reported: The paper's rows, columns `REPORTED_COLUMNS`; `value` and `std` are floats
            (`std` NaN where the paper gives none).
        skipped: How many run folders were skipped, by reason.
        gaps: A sentence for each file that is missing: that of the paper's rows, and committed ones
            whose records are there; for each committed file that was changed since; and for each
            run of a method that is not registered.
    """

    ours: pd.DataFrame
    reported: pd.DataFrame
    skipped: Counter[str]
    gaps: tuple[str, ...] = ()
    _parts: dict[tuple[str, ...], Results] = field(default_factory=dict, init=False, repr=False)

    @property
    def skips(self) -> str:
        """How many run folders were skipped, by reason, as text; empty if none."""
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))

    def of(self, *tasks: str) -> Results:
        """The same with our rows of some tasks only; they are selected once and kept."""
        if tasks not in self._parts:
            rows = select(self.ours, task=tasks)
            self._parts[tasks] = self if rows is self.ours else replace(self, ours=rows)
        return self._parts[tasks]


def load_results(
    results: Path, tasks: Sequence[str] = ("scan",), scales: Sequence[str] = SCALES
) -> Results:
    """Our rows of some tasks and the paper's, each once; results/README.md says which one wins.

    Rows are validated before other scales are left out.

    Raises:
        ValueError: A file holds an invalid row, two committed rows or two runs contradict each
            other, or this is no results folder. The message is one line.
    """
    if not any((results / name).is_dir() for name in FOLDERS):
        raise ValueError(f"{results}: no folder with {', '.join(FOLDERS)}; --results names it")
    reported = results / "paper" / "reported.csv"
    skipped: Counter[str] = Counter()
    measured: list[Row] = []
    fresh: list[Row] = []
    edited: list[Path] = []
    unknown: list[str] = []
    gaps = [] if reported.is_file() else [(reported, "none of the paper's numbers is shown")]
    for task in tasks:
        committed = results / "measured" / task
        records = sorted(committed.glob("*.json"))
        lost = (path.with_suffix(".csv") for path in records)
        gaps += [(path, "its rows are not counted") for path in lost if not path.is_file()]
        edited += checksums.changed(results / "measured", task)
        for path in sorted(committed.glob("*.csv")):
            if not path.stem.endswith(SUFFIX):
                measured += read_measured(path)
        for path, record, rows in finished_rows(results / "runs" / task, skipped, unknown):
            fresh += with_departures(rows, {"": record}, path.with_name(RECORD))
    kept = [[row for row in rows if row.cells["scale"] in scales] for rows in (measured, fresh)]
    theirs = read_reported(reported) if reported.is_file() else []
    named = [_GAP.format(path=path, lost=lost) for path, lost in gaps]
    named += [_EDITED.format(path=path, sums=checksums.NAME) for path in edited]
    shown = (*named, *unknown)
    return Results(merge(kept[0], kept[1]), _reported_frame(theirs), skipped, shown)


def merge(measured: Iterable[Row], fresh: Iterable[Row]) -> pd.DataFrame:
    """Committed and fresh rows, one per key; where their values differ the fresh one wins.

    Two rows of the same side with the same key and different values are a ValueError.
    """
    committed, runs = unique_rows(measured), unique_rows(fresh)
    records = []
    for key in committed | runs:
        old, new = committed.get(key), runs.get(key)
        if old is not None and (new is None or new.value == old.value):
            row, origin = old, "measured"
        else:
            assert new is not None
            row, origin = new, "fresh" if old is None else "replaced"
        records.append((*key, row.value, row.where, origin, row.departures))
    # Of object, not of pandas' own text: rows are selected many times, all columns at once.
    frame = pd.DataFrame(records, columns=[*COLUMNS, "where", "origin", "departures"], dtype=object)
    return frame.astype({"value": float})


def finished_runs(folder: Path, skipped: Counter[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each finished `metrics.csv` that has the checksum of its record, if any, and the record.

    The reasons of runs that are left out are counted in `skipped`. The runs that others build on (a
    pretraining) are no results of their own: they are not read and not counted.
    """
    newest: dict[str, tuple[str, Path, dict[str, Any]]] = {}
    for run in sorted(path for path in folder.glob("*") if path.is_dir()):
        try:
            record = parse_record((run / "record.json").read_text(encoding="utf-8"))
            status, stage = str(record["status"]), str(record["stage"])
        except FileNotFoundError:
            status, stage = "without record", RESULTS[0]
        except (ValueError, KeyError, TypeError):
            status, stage = "unreadable record", RESULTS[0]
        if stage not in RESULTS:
            continue
        if status != "done":
            skipped[status] += 1
        elif (metrics := run / "metrics.csv").is_file():
            expected = record.get("metrics_sha256")
            if expected is not None and sha256(metrics) != expected:
                skipped["metrics changed"] += 1
                continue
            # Of runs that differ by what their machines are fast at the last one counts.
            asked = json.dumps(_without_precision(record.get("identity", run.name)), sort_keys=True)
            found = (str(record.get("started", "")), metrics, record)
            if asked in newest:
                skipped["done again on a machine of another precision"] += 1
            newest[asked] = max(found, newest.get(asked, found), key=itemgetter(0, 1))
    yield from ((metrics, record) for _, metrics, record in newest.values())


def finished_rows(
    folder: Path, skipped: Counter[str], unknown: list[str]
) -> Iterator[tuple[Path, dict[str, Any], list[Row]]]:
    """The rows of each of `finished_runs`, with its `metrics.csv` and its record.

    A run of a method that is not registered is left out, and a sentence added to `unknown`.
    """
    for path, record in finished_runs(folder, skipped):
        try:
            yield path, record, read_metrics(path)
        except UnknownMethod as error:
            unknown.append(_UNREGISTERED.format(path=path.parent, method=error.method))


def _without_precision(identity: Any, of: str = "") -> Any:
    """Return an identity without the precision of trainings, which the machine may choose."""
    if not isinstance(identity, dict):
        return identity
    return {
        key: _without_precision(value, key)
        for key, value in identity.items()
        if (of, key) != ("recipe", "precision")
    }


def _reported_frame(rows: Sequence[Row]) -> pd.DataFrame:
    records = [
        {**row.cells, "value": row.value, "std": float(row.cells["std"] or "nan")} for row in rows
    ]
    # Of object, as ours are.
    frame = pd.DataFrame(records, columns=list(REPORTED_COLUMNS), dtype=object)
    return frame.astype({"value": float, "std": float})


def own_groups(rows: pd.DataFrame, group: pd.Series[str] | str) -> pd.Series[str]:
    """The group that each row must name to count: the trivial one where a method has none."""
    alone = [name for name, method in METHODS.items() if not method.uses_group]
    groups = pd.Series(group, rows.index) if isinstance(group, str) else group
    return groups.where(~rows["method"].isin(alone), "trivial")


def option(rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return the value of an option by which rows depart; None where they do not."""
    return _by_label(rows, lambda known: known.get(name))


def departing(rows: pd.DataFrame, *known: str) -> pd.Series[Any]:
    """Return the label of what rows depart by, beside some options."""
    return _by_label(
        rows,
        lambda found: label_of({name: value for name, value in found.items() if name not in known}),
    )


def _by_label(rows: pd.DataFrame, make: Callable[[Mapping[str, object]], object]) -> pd.Series[Any]:
    """Return for each row what is made of its departures, once for each label."""
    of_label = dict(zip(rows["variant"], rows["departures"], strict=True))
    made = {label: make(found) for label, found in of_label.items()}
    return pd.Series([made[label] for label in rows["variant"]], rows.index, dtype=object)


def select(frame: pd.DataFrame, **wanted: str | Sequence[str]) -> pd.DataFrame:
    """The rows whose columns have the wanted texts; of several texts any will do."""
    if frame.empty:
        return frame
    # One copy at the end: copying the frame for each column takes longer than all comparisons. A
    # column is compared where those before it agree, by numpy: with few texts faster than by hash.
    places = np.arange(len(frame))
    for column, texts in wanted.items():
        values = frame[column].to_numpy()[places]
        places = places[values == texts if isinstance(texts, str) else _any_of(values, texts)]
    return frame if len(places) == len(frame) else frame.take(places)


def _any_of(values: Any, texts: Sequence[str]) -> Any:
    if len(texts) > _FEW:
        return pd.Series(values).isin(list(texts)).to_numpy()
    mask = np.zeros(len(values), dtype=bool)
    for text in texts:
        mask |= values == text
    return mask


def seed_order(seed: str) -> tuple[int, str]:
    """What seeds are sorted by: 2 comes before 10."""
    return len(seed), seed


def step_numbers(rows: pd.DataFrame) -> pd.Series[int]:
    """The column `step`, which is not empty, as numbers.

    A step that is no whole number is a ValueError of one line, with the row's place.
    """
    strange = rows[~rows["step"].str.fullmatch("[0-9]+")]
    if len(strange):
        first = strange.iloc[0]
        raise ValueError(f"{first['where']}: step {first['step']!r} is not a whole number")
    return rows["step"].astype(int)


def with_iterations(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows with their steps as numbers; those of a metric without a step are `SELECTED`."""
    ends = rows["step"] == ""
    metrics = rows["metric"].mask(ends & (rows["metric"] == metric), SELECTED["metric"])
    steps = step_numbers(rows.assign(step=rows["step"].mask(ends, "0")))
    return rows.assign(metric=metrics, iteration=steps)
