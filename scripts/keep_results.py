"""Copy the rows and records of finished runs into ``results/measured``, to be committed.

python scripts/keep_results.py scan table2 --model LSTM
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.rows import COLUMNS
from scripts._results import finished_runs
from scripts._rows import read_metrics


def keep(results: Path, task: str, name: str, wanted: dict[str, str]) -> tuple[Path, int]:
    """Write ``measured/<task>/<name>.csv`` and the records of its runs as ``<name>.json``.

    Args:
        results: The results folder that holds ``runs`` and ``measured``.
        task: The task.
        name: Name of the two files.
        wanted: Columns and the text that every row of a run must have.

    Returns:
        The CSV file and the number of its runs.

    Raises:
        ValueError: If no finished run has such rows, or a row is invalid.
    """
    rows: list[dict[str, str]] = []
    records: dict[str, Any] = {}
    for path in finished_runs(results / "runs" / task, Counter()):
        found = [
            row.cells | {"value": repr(row.value), "run": path.parent.name}
            for row in read_metrics(path)
        ]
        if all(row[column] == text for row in found for column, text in wanted.items()):
            rows += found
            records[path.parent.name] = json.loads((path.parent / "record.json").read_text())
    if not rows:
        raise ValueError(f"no finished run of task {task} has {wanted}")
    folder = results / "measured" / task
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*COLUMNS, "run"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = json.dumps(_with_needed(records, results / "runs" / task), indent=1, sort_keys=True)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return folder / f"{name}.csv", len(records)


def _with_needed(records: dict[str, Any], runs: Path) -> dict[str, Any]:
    """Add the records of the runs that these were built on."""
    needed = {record.get("facts", {}).get("pretrained_by") for record in records.values()} - {None}
    extra = {name: json.loads((runs / name / "record.json").read_text()) for name in needed}
    return records | extra


def main() -> int:
    """Read the command line and copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="the task, a folder under results/runs")
    parser.add_argument("name", help="name of the files under results/measured/<task>")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--scale", default="paper")
    for column in ("model", "dataset", "protocol", "method"):
        parser.add_argument(f"--{column}")
    options = vars(parser.parse_args())
    wanted = {
        c: options[c] for c in ("scale", "model", "dataset", "protocol", "method") if options[c]
    }
    try:
        path, runs = keep(options["results"], options["task"], options["name"], wanted)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{path}: rows of {runs} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
