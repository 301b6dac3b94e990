"""Load and validate the metric rows under `results/`: ours (runs and committed) and the paper's.

Every refusal is one line that starts with the file and the line it is about.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.frame.methods import METHODS
from experiments.frame.rows import COLUMNS, PROTOCOLS, SCALES

# Facts of records before they had `built_on`, that name a run which theirs was built on.
_BUILT_ON = (
    *("pretrained_by", "finetuned_by", "weighted_by"),
    *("features_by", "probed_by", "text_by"),
    *("generated_by", "regard_by"),
)
KEY_COLUMNS = COLUMNS[:-1]
MEASURED_COLUMNS = (*COLUMNS, "run")
REPORTED_COLUMNS = ("artefact", *COLUMNS, "std", "source", "read_error")
# Faster than a loop in Python, which takes as long as reading the files.
_KEY: Callable[[dict[str, str]], tuple[str, ...]] = itemgetter(*KEY_COLUMNS)
SOURCES = ("table", "authors_plot_data", "figure")


def bases(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the runs that a run was built on, as its record says."""
    facts, noted = (record.get(key) for key in ("facts", "built_on"))
    found = [*noted.values()] if isinstance(noted, dict) else []
    found += [facts.get(name) for name in _BUILT_ON] if isinstance(facts, dict) else []
    return list(dict.fromkeys(str(name) for name in found if name))


def all_bases(
    record: Mapping[str, Any], find: Callable[[str], dict[str, Any] | None]
) -> dict[str, dict[str, Any]]:
    """Return the records of the runs that a run was built on, over any number of levels, by name.

    `find` returns the record of a run, None where there is none.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in bases(record):
        if (base := find(run)) is not None:
            found |= {run: base} | all_bases(base, find)
    return found


class Row(NamedTuple):
    """One number with its place.

    Attributes:
        where: `file:line`, for messages.
        departures: The options by which its run departs from the protocol, with their values.
    """

    cells: dict[str, str]
    value: float
    where: str
    departures: Mapping[str, object] = MappingProxyType({})

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the number: all columns of a metrics file but `value`."""
        return _KEY(self.cells)


class UnknownMethod(ValueError):
    """A row is of a method that is not registered."""

    def __init__(self, method: str, where: str) -> None:
        """Say which, and where the row is."""
        super().__init__(f"{where}: unknown method {method!r}; choose from {', '.join(METHODS)}")
        self.method = method


def _describe(row: Row) -> str:
    return ", ".join(f"{column}={row.cells[column]}" for column in KEY_COLUMNS if row.cells[column])


def unique_rows(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    """Key to its first row; two rows with the same key and different values are a ValueError."""
    unique: dict[tuple[str, ...], Row] = {}
    for row in rows:
        first = unique.setdefault(row.key, row)
        if first.value != row.value:
            raise ValueError(
                f"{row.where}: value {row.cells['value']} contradicts {first.cells['value']} at "
                f"{first.where} for the same key ({_describe(row)}); keep one of the two"
            )
    return unique


def read_rows(
    path: Path, columns: Sequence[str] = COLUMNS, protocols: Sequence[str] = PROTOCOLS
) -> list[Row]:
    """The rows of one CSV file, in order; columns beyond `columns` are ignored.

    Raises:
        ValueError: A missing column, a line with too few or too many fields, an unknown method,
            protocol or scale, or a value that is not a finite number. One line, naming file and
            line.
    """
    allowed = {"protocol": protocols, "scale": SCALES}
    rows = []
    for cells, where in read_cells(path, columns):
        if cells["method"] not in METHODS:
            raise UnknownMethod(cells["method"], where)
        for column, names in allowed.items():
            check_name(cells[column], column, names, where)
        rows.append(Row(cells, parse_number(cells["value"], "value", where), where))
    return rows


def read_cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, str], str]]:
    """The lines of a CSV file as texts by column, and `file:line`.

    Raises:
        ValueError: A missing column, a line with too few or too many fields, or no CSV at all. One
            line, naming file and line.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:  # Excel writes the mark
        reader, begins = csv.reader(stream, strict=True), 1
        try:
            header = next(reader, [])
            begins = reader.line_num + 1
            missing = [column for column in columns if column not in header]
            if missing:
                names = ", ".join(missing)
                raise ValueError(f"{path}:1: missing column {names}; needed: {', '.join(columns)}")
            for texts in filter(None, reader):
                where = f"{path}:{reader.line_num}"
                if len(texts) != len(header):
                    raise ValueError(f"{where}: not {len(header)} fields, as the header has")
                yield dict(zip(header, texts, strict=True)), where
                begins = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}:{begins}: not CSV in UTF-8 ({error})") from None


def check_name(text: str, column: str, names: Collection[str], where: str) -> None:
    """Raise a ValueError for a text outside a closed set."""
    if text not in names:
        raise ValueError(f"{where}: unknown {column} {text!r}; choose from {', '.join(names)}")


def parse_number(text: str, column: str, where: str) -> float:
    """A finite number from text; a ValueError for anything else."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{where}: {column} {text!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{where}: {column} {text!r} is not finite; NaN and infinity are refused")
    return number


def read_metrics(path: Path, columns: Sequence[str] = COLUMNS) -> list[Row]:
    """The rows of a file of our own numbers.

    A ValueError is raised as in `read_rows`, or where the file contradicts itself (`unique_rows`).
    """
    rows = read_rows(path, columns)
    unique_rows(rows)
    return rows


def with_departures(rows: Iterable[Row], records: Mapping[str, Any], path: Path) -> list[Row]:
    """Rows with the options by which they depart, which the records of their runs tell.

    A cell `run` names the run, where the file has that column; of a run's own file the one record
    has the name "". What a row says of itself, and not its run, is no option: it stands under "".
    Records of earlier versions are a ValueError of one line.
    """
    found = []
    for row in rows:
        variant, record = row.cells["variant"], records[row.cells.get("run", "")]
        if variant:
            known = record.get("departures")
            if not isinstance(known, dict):
                raise ValueError(
                    f"{path}: the record of {row.where} does not tell the options of "
                    f"{variant!r}; python scripts/migrate_results.py adds them"
                )
            row = row._replace(departures=dict(known.get(variant, [("", variant)])))
        found.append(row)
    return found


def read_measured(path: Path) -> list[Row]:
    """The rows of a committed file of our own numbers, with the records of its runs beside it.

    Records are in `<name>.json`, by the name of the run. A ValueError is raised as in
    `read_metrics`, or where a row names a run that has no finished record.
    """
    rows = read_metrics(path, MEASURED_COLUMNS)
    sibling = path.with_suffix(".json")
    try:
        records = committed_records(sibling)
    except FileNotFoundError:
        raise ValueError(f"{path}: its runs' records are missing; expected {sibling}") from None
    for row in rows:
        if row.cells["run"] not in records:
            raise ValueError(
                f"{row.where}: run {row.cells['run']!r} has no record with status done in {sibling}"
            )
    return with_departures(rows, records, sibling)


def committed_records(path: Path) -> dict[str, dict[str, Any]]:
    """The committed records of finished runs in a JSON file, by the name of the run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no JSON; one line.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    found = records.items() if isinstance(records, dict) else ()
    return {
        name: record
        for name, record in found
        if isinstance(record, dict) and record.get("status") == "done"
    }


def read_reported(path: Path) -> list[Row]:
    """The paper's numbers; the text in `std` may be empty.

    A ValueError is raised as in `read_rows`, or where `std` or `source` is invalid, or an artefact
    has the same key twice.
    """
    rows = read_rows(path, REPORTED_COLUMNS, protocols=("reported",))
    first: dict[tuple[str, ...], Row] = {}
    for row in rows:
        check_name(row.cells["source"], "source", SOURCES, row.where)
        if row.cells["std"]:
            parse_number(row.cells["std"], "std", row.where)
        twin = first.setdefault((row.cells["artefact"], *row.key), row)
        if twin is not row:
            raise ValueError(f"{row.where}: the same key as {twin.where} ({_describe(row)})")
    return rows
