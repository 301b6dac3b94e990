"""Copy the rows and records of finished runs into ``results/measured``, to be committed.

Runs that a file of that name has stay in it if their folders are gone. With --replace, committed
runs of the task that have one of the same numbers are taken out.

python scripts/keep_results.py scan zero_shot --where step= --where 'model!=G-LSTM,G-GRU,G-RNN'
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.files import is_plain_name
from experiments.frame.methods import METHODS
from experiments.frame.record_files import finished_record
from experiments.frame.rows import COLUMNS, PROTOCOLS
from experiments.frame.tasks import TASKS
from experiments.frame.terminal import run_program
from report import checksums
from report.results import finished_rows
from report.rows import (
    KEY_COLUMNS,
    MEASURED_COLUMNS,
    Row,
    bases,
    committed_records,
    read_metrics,
)
from report.sentences import FOREIGN, SUFFIX, sentences_of_runs
from scripts._arguments import Parser, refused

# Columns that can be asked for; the task and the scale are chosen otherwise.
WHERE_COLUMNS = tuple(column for column in KEY_COLUMNS if column not in ("task", "scale"))
ENDINGS = (".csv", ".json", f"{SUFFIX}.csv")
CLOSED = {"method": METHODS, "protocol": PROTOCOLS}

_GRAMMAR = """\
A condition is COLUMN=VALUE[,VALUE...] (the column has one of these texts) or
COLUMN!=VALUE[,VALUE...] (it has none of them). A run is kept, whole, if each of its rows meets
every condition.
  --where model=LSTM,GRU         either of two models
  --where step=                  rows with an empty step: zero-shot
  --where 'step!=,10000'         neither empty nor 10000: quotes keep ! from the shell
  --where 'variant=finetune.rate=scripts, finetune.weight_decay=0.0'
                                 one value: a comma before a space does not separate
"""


class Condition(NamedTuple):
    """What every row of a run must meet.

    Attributes:
        column: Name of a column.
        values: Texts.
        wanted: Whether the column must have one of the texts, or must have none of them.
    """

    column: str
    values: tuple[str, ...]
    wanted: bool

    def met_by(self, cells: Mapping[str, str]) -> bool:
        """Whether a row meets it."""
        return (cells[self.column] in self.values) == self.wanted

    def __str__(self) -> str:
        return f"{self.column}{'=' if self.wanted else '!='}{','.join(self.values)}"


def parse_condition(text: str) -> Condition:
    """The condition that a text says: `COLUMN=VALUE[,VALUE...]`, or with `!=`.

    A value may be empty, and may hold a comma that a space follows, as in a row's `variant`.
    Another form, an unknown column, or a value that the column cannot have is a ValueError of one
    line.
    """
    parts = re.fullmatch(r"(\w*)(!?=)(.*)", text, re.DOTALL)
    if parts is None:
        raise ValueError(
            f"--where {text!r} is neither COLUMN=VALUE[,VALUE...] nor COLUMN!=VALUE[,VALUE...]; "
            f"columns: {', '.join(WHERE_COLUMNS)}"
        )
    column, sign, values = parts[1], parts[2], tuple(re.split(r",(?! )", parts[3]))
    if column not in WHERE_COLUMNS:
        raise ValueError(
            f"--where {text!r}: unknown column {column!r}; choose from {', '.join(WHERE_COLUMNS)}"
        )
    for value in values:
        if value not in CLOSED.get(column, (value,)):
            valid = ", ".join(CLOSED[column])
            raise ValueError(f"--where {text!r}: unknown {column} {value!r}; choose from {valid}")
    return Condition(column, values, sign == "=")


def keep(
    results: Path, task: str, name: str, conditions: Sequence[Condition], replace: bool = False
) -> tuple[Path, int]:
    """Write ``measured/<task>/<name>.csv`` and the records of its runs as ``<name>.json``.

    Where runs have written sentences, a few of each stand in ``<name>_sentences.csv``. A run is
    kept if each of its rows meets all conditions. Runs of an earlier file of that name stay if
    their folders are gone. With `replace`, committed runs of the task that have one of the same
    numbers are taken out. The file and the number of runs that were added are returned.

    Raises:
        ValueError: If the name is no plain one or one of sentences, no finished run has such rows,
            a row or a sentence is invalid, a run was built on one that has no finished record, or
            without `replace`, a committed run has another value for one of the numbers.
    """
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is not the name of a file")
    if name.endswith(SUFFIX):
        raise ValueError(
            f"{name}: files that end with {SUFFIX} hold sentences; choose another name"
        )
    runs = results / "runs" / task
    chosen = _matching(runs, conditions)
    if not chosen:
        asked = ", ".join(map(str, conditions)) or "rows"
        raise ValueError(f"no finished run of task {task} under {runs} has {asked}")
    # Before a file is written: a run behind them may be missing.
    records = with_needed(chosen, runs)
    folder = results / "measured" / task
    own = folder / f"{name}.csv"
    again = {run for run in _runs_of(own) if (runs / run).is_dir()}
    old = dict(_older(folder, again, own, chosen.values(), replace))
    if old and not replace:
        path, runs_there = next(iter(old.items()))
        raise ValueError(
            f"{path}: {len(runs_there)} of its runs have other values for some of the numbers; "
            "--replace takes them out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if again:
        old.setdefault(own, set()).update(again)
        if out := again - set(chosen):
            print(f"{own}: {len(out)} runs do not meet the conditions: taken out", file=sys.stderr)
    for path, gone in old.items():
        if path != own or gone - again:
            print(f"{path}: {len(gone - again)} runs are replaced", file=sys.stderr)
        _take_out(path, gone)
    rows = [[*row.key, repr(row.value), run] for run, found in chosen.items() for row in found]
    _append(own, [*COLUMNS, "run"], rows)
    sibling = own.with_suffix(".json")
    _write_records(sibling, (committed_records(sibling) if sibling.is_file() else {}) | records)
    texts = [run for run, found in chosen.items() if found[0].cells["model"] not in FOREIGN]
    _append(own.with_name(f"{name}{SUFFIX}.csv"), *sentences_of_runs(runs / run for run in texts))
    names = {name, *(path.stem for path in old)}
    written = (folder / f"{each}{ending}" for each in sorted(names) for ending in ENDINGS)
    checksums.note(folder.parent, [path for path in written if path.is_file()])
    return own, len(chosen)


def _runs_of(path: Path) -> set[str]:
    """The runs whose rows a committed file has; none if there is no such file."""
    return (
        {r.cells["run"] for r in read_metrics(path, MEASURED_COLUMNS)} if path.is_file() else set()
    )


def _append(path: Path, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Add lines to a table, with a header if it is new."""
    if not lines:
        return
    new = not path.is_file()
    with open(path, "a", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([*([header] if new else []), *lines])


def _write_records(path: Path, records: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _older(
    folder: Path, again: set[str], own: Path, kept: Iterable[Sequence[Row]], equal: bool
) -> Iterator[tuple[Path, set[str]]]:
    """Yield the task's files with the runs that have a number of the kept ones.

    A number of the same value counts only if `equal`; runs of the `own` file that are chosen
    `again` do not.
    """
    values = {row.key: row.value for rows in kept for row in rows}
    for path in sorted(folder.glob("*.csv")):
        if path.stem.endswith(SUFFIX):
            continue
        rows = (row for row in read_metrics(path, MEASURED_COLUMNS) if row.key in values)
        found = {row.cells["run"] for row in rows if equal or row.value != values[row.key]}
        found -= again if path == own else set()
        if found:
            yield path, found


def _take_out(path: Path, runs: set[str]) -> None:
    """Take runs out of a committed file, its sentences and its records."""
    left = _runs_of(path) - runs
    _drop_runs(path, runs)
    _drop_runs(path.with_name(f"{path.stem}{SUFFIX}.csv"), runs)
    sibling = path.with_suffix(".json")
    if left:
        known = committed_records(sibling)
        _write_records(sibling, _closure(left, lambda run, _: known[run]))
    else:
        sibling.unlink()


def _drop_runs(path: Path, runs: Container[str]) -> None:
    """Take the lines of runs out of a table, if there is one; without lines it is removed."""
    if not path.is_file():
        return
    with open(path, newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    kept = [line for line in lines if line[header.index("run")] not in runs]
    if not kept:
        path.unlink()
        return
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *kept])


def _matching(runs: Path, conditions: Sequence[Condition]) -> dict[str, list[Row]]:
    chosen = {}
    unknown: list[str] = []
    for path, _, rows in finished_rows(runs, Counter(), unknown):
        if rows and all(each.met_by(row.cells) for row in rows for each in conditions):
            chosen[path.parent.name] = rows
    for line in unknown:
        print(line, file=sys.stderr)
    return chosen


def with_needed(names: Iterable[str], runs: Path) -> dict[str, Any]:
    """The records, by name, of runs of a folder, of those that they were built on, and so on.

    A run without a readable record with status done is a ValueError of one line.
    """

    def read(name: str, user: str) -> Mapping[str, Any]:
        if not is_plain_name(str(name)):
            raise ValueError(f"{runs / user / 'record.json'}: {name!r} is not the name of a run")
        try:
            return finished_record(runs / name)
        except ValueError as error:
            raise ValueError(f"{error}{f', which {user} was built on' if user else ''}") from None

    return _closure(names, read)


def _closure(names: Iterable[str], read: Callable[[str, str], Any]) -> dict[str, Any]:
    """The records of runs and of all that they were built on, read by name and by who needs it."""
    records: dict[str, Any] = {}
    waiting = dict.fromkeys(names, "")
    while waiting:
        name, user = waiting.popitem()
        records[name] = read(name, user)
        for needed in bases(records[name]):
            if needed not in records:
                waiting[needed] = name
    return records


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy; 2 with one line on stderr where nothing was kept."""
    parser = Parser(
        prog="keep_results.py",
        description="Copy the rows and records of finished runs into results/measured.",
        epilog=_GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", metavar="TASK", help="the task, a folder under results/runs")
    parser.add_argument(
        "name", metavar="NAME", help="name of the files under results/measured/<task>"
    )
    parser.add_results()
    parser.add_scale()
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="which runs, by their rows; repeat it for several conditions, all of which must hold",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="take committed runs with one of the same numbers out",
    )
    chosen = parser.parse_args(arguments)
    parser.check("task", [chosen.task], TASKS)
    try:
        conditions = [parse_condition(text) for text in chosen.where]
        conditions.append(Condition("scale", (chosen.scale,), wanted=True))
        path, runs = keep(chosen.results, chosen.task, chosen.name, conditions, chosen.replace)
    except ValueError as error:
        return refused(error, "keep_results.py")
    print(f"{path}: rows of {runs} runs")
    return 0


if __name__ == "__main__":
    run_program(main)
