"""Reading the rows of a run in tests."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(folder: Path, **wanted: str) -> list[dict[str, str]]:
    """Return the rows of a run whose columns have the wanted texts."""
    with open(folder / "metrics.csv", newline="") as stream:
        found = list(csv.DictReader(stream))
    return [row for row in found if all(row[key] == text for key, text in wanted.items())]


def value(folder: Path, **wanted: str) -> float:
    """Return the number of the only row whose columns have the wanted texts."""
    (row,) = rows(folder, **wanted)
    return float(row["value"])
