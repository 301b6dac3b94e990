"""The notes that every table and figure has: units, spread, single seeds, daggers, fresh rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from report.cells import DAGGER, EN_DASH, SPREAD_NOTES
from report.options import Options
from report.rows import KEY_COLUMNS
from report.tables import Block

UNITS = "Accuracy in percent, mean (spread) over n seeds"


def notes(
    rows: pd.DataFrame,
    blocks: Sequence[Block],
    options: Options,
    units: str = UNITS,
    with_spread: bool = True,
) -> tuple[str, ...]:
    """How to read a table: units, spread, single seeds, demo rows, daggers, fresh rows."""
    return tuple(_notes(rows, blocks, options, units, with_spread))


def _notes(
    rows: pd.DataFrame, blocks: Sequence[Block], options: Options, units: str, with_spread: bool
) -> Iterator[str]:
    cell = [column for column in KEY_COLUMNS if column != "seed"]
    seeds = rows.groupby(cell)["seed"].count()
    demo = seeds[seeds.index.get_level_values("scale") == "demo"]
    yield f"{units}; {SPREAD_NOTES[options.spread]}" if with_spread else units
    if with_spread and (seeds == 1).any():
        yield f"({EN_DASH}): n = 1, one seed has no spread"
    if "demo" in options.scales:
        counts = ", ".join(f"n = {count}" for count in sorted(set(demo))) or "no rows"
        yield (
            f"scale = demo, {counts}: fewer seeds or iterations than the paper's, "
            f"so none of its cells is marked"
        )
    if any(DAGGER in text for block in blocks for line in block.rows for text in line):
        yield (
            f"{DAGGER} our mean and the paper's differ by more than the paper's spread plus ours "
            f"(zero where n = 1); a fact about the two numbers, not a verdict"
        )
    fresh = int((rows["origin"] != "measured").sum())
    if fresh:
        replaced = int((rows["origin"] == "replaced").sum())
        yield (
            f"{fresh} row{'s' * (fresh != 1)} from fresh runs, "
            f"{replaced} of them in place of a different committed value"
        )
