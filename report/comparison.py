"""Cells that stand beside the paper's numbers, and the notes that every table has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from report.cells import (
    DAGGER,
    EN_DASH,
    NOT_REPORTED,
    SPREAD_NOTES,
    Summary,
    format_counts,
    format_reported,
    format_summary,
    outside_spread,
    over_seeds,
)
from report.options import Options
from report.results import select
from report.rows import KEY_COLUMNS
from report.tables import Block

SPLITS = ("validation", "test")
OUR_HEADERS = (*SPLITS, "n")
PAPER_HEADERS = tuple(f"paper reports, {split}" for split in SPLITS)
UNITS = "Accuracy in percent, mean (spread) over n seeds"


def our_cells(rows: pd.DataFrame, options: Options) -> tuple[str, ...]:
    """The cells `OUR_HEADERS` of one line: validation, test and the number of seeds."""
    ours = _summaries(rows, options)
    return (*map(format_summary, ours), format_counts(ours))


def compared_cells(
    rows: pd.DataFrame, paper: pd.DataFrame, options: Options, marked: bool
) -> tuple[str, ...]:
    """The cells `OUR_HEADERS` and `PAPER_HEADERS` of one line.

    `rows` has one row per split and seed, `paper` at most one per split. If `marked`, cells far
    from the paper's get a dagger.
    """
    ours = _summaries(rows, options)
    cells = []
    for split, summary in zip(SPLITS, ours, strict=True):
        far = marked and _is_far(summary, select(paper, split=split))
        cells.append(format_summary(summary) + (DAGGER if far else ""))
    reported = (_reported_cell(select(paper, split=split)) for split in SPLITS)
    return (*cells, format_counts(ours), *reported)


def _summaries(rows: pd.DataFrame, options: Options) -> list[Summary | None]:
    return [over_seeds(select(rows, split=split), options.spread) for split in SPLITS]


def _is_far(ours: Summary | None, paper: pd.DataFrame) -> bool:
    if ours is None or paper.empty:
        return False
    return outside_spread(ours, float(paper["value"].iloc[0]), float(paper["std"].iloc[0]))


def _reported_cell(paper: pd.DataFrame) -> str:
    if paper.empty:
        return NOT_REPORTED
    return format_reported(float(paper["value"].iloc[0]), float(paper["std"].iloc[0]))


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
