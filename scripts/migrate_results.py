"""Bring records of earlier versions up to date: python scripts/migrate_results.py [--write].

Today's records tell the options by which a run departs from its protocol (`departures`); earlier
ones have them in the text of `variant` alone. Rows and numbers stay as they are.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.errors import one_line
from experiments.frame.files import write_json, write_text
from experiments.frame.record_files import RECORD, SEAL, parse_record, seal
from experiments.frame.rows import label_of
from report import checksums
from scripts._arguments import Parser

#: Between two options of the text; values may hold commas.
_PARTS = re.compile(r", (?=[\w.]+=)")


def departures_of(variant: str) -> dict[str, Any]:
    """Return the options that a label names, with their values; none for a text that is no option.

    Raises:
        ValueError: If the label cannot be made of them again.
    """
    pairs = [part.partition("=") for part in _PARTS.split(variant)]
    if not all(equals for _, equals, _ in pairs):
        return {}
    found = {name: _value(text) for name, _, text in pairs}
    if label_of(found) != variant:
        raise ValueError(f"variant {variant!r} is no list of options")
    return found


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    # As a label writes it, so that no digit is lost.
    return value if str(value) == text else text


def migrate(results: Path, *, write: bool) -> Iterator[Path]:
    """Add `departures` to the records that lack them; without `write`, only tell which would be.

    Each file that is changed, or would be, is yielded. If one cannot be read it is a ValueError; it
    and the following ones stay as they are.
    """
    for path in sorted(results.glob(f"runs/*/*/{RECORD}")):
        metrics = path.with_name("metrics.csv")
        record = parse_record(path.read_text(encoding="utf-8"))
        labels = {label for label, _ in _labels(metrics)} if metrics.is_file() else set()
        if "departures" in record or not labels - {""}:
            continue
        if write:
            write_json(path, _with(record, labels))
        yield path
    changed = []
    for path in sorted(results.glob("measured/*/*.csv")):
        beside = path.with_suffix(".json")
        if not beside.is_file():
            continue
        records: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        of_run: dict[str, set[str]] = {}
        for label, run in _labels(path):
            if label:
                of_run.setdefault(run, set()).add(label)
        lacking = {run: found for run, found in of_run.items() if "departures" not in records[run]}
        if not lacking:
            continue
        if write:
            new = {run: _with(records[run], found) for run, found in lacking.items()}
            text = json.dumps(records | new, indent=1, sort_keys=True)
            write_text(beside, text + "\n")
            changed.append(beside)
        yield beside
    if changed:
        checksums.note(results / "measured", changed)


def _labels(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the label of each row, and its run where the file names it."""
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            yield row.get("variant", ""), row.get("run", "")


def _with(record: dict[str, Any], labels: Iterable[str]) -> dict[str, Any]:
    pairs = {label: [*departures_of(label).items()] for label in sorted(labels) if label}
    new = record | {"departures": {label: found for label, found in pairs.items() if found}}
    return seal(new) if SEAL in record else new


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and migrate.

    Returns:
        The exit status: 1 if a file cannot be read.
    """
    parser = Parser(
        prog="migrate_results.py", description="Bring records of earlier versions up to date."
    )
    parser.add_results()
    parser.add_argument("--write", action="store_true", help="change the files (default: tell)")
    chosen = parser.parse_args(arguments)
    if not chosen.results.is_dir():
        parser.error(f"--results {chosen.results}: no such folder")
    count = 0
    try:
        for path in migrate(chosen.results, write=chosen.write):
            count += 1
            print(path)
    except (OSError, ValueError, KeyError) as error:
        print(f"migrate_results.py: after {count} files: {one_line(error)}", file=sys.stderr)
        return 1
    print(f"{count} files {'changed' if chosen.write else 'would change; --write changes them'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
