"""What the tables and figures of SCAN share: its names, and which rows count."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from report.cells import MISSING
from report.comparison import SPLITS
from report.options import Options
from report.results import Results, select, step_numbers
from report.tables import Block

MODELS = ("LSTM", "GRU", "RNN")
# The group of the paper on each data set, and the one element of the pretrained model.
GROUPS = {"add_jump": "verb", "around_right": "direction"}
TRIVIAL = dict.fromkeys(GROUPS, "trivial")
# Number of elements; tested against conf/group.
GROUP_SIZES = {
    **{"trivial": 1, "verb": 2, "direction": 2},
    **{"verb4": 4, "verb_direction": 4, "verb4_direction": 8},
}
# A model that was not fine-tuned, and one fine-tuned as for Tables 10 to 12.
ZERO_SHOT = ""
FINETUNED = "10000"


def result_rows(
    results: Results, options: Options, metric: str | Sequence[str] = "accuracy"
) -> pd.DataFrame:
    """Rows of validation and test commands as they are, without changes of the inputs' view."""
    scales = options.scales
    return select(results.ours, task="scan", metric=metric, view="", split=SPLITS, scale=scales)


def at_step(rows: pd.DataFrame, step: str) -> pd.DataFrame:
    """The rows at `ZERO_SHOT` or `FINETUNED` iterations, of one scale.

    A demo fine-tunes for fewer iterations: its rows count as fine-tuned at the last step that any
    of them has.
    """
    demo = select(rows, scale="demo")
    demo = demo[demo["step"] != ZERO_SHOT]
    if step == ZERO_SHOT or demo.empty:
        return select(rows, step=step)
    steps = step_numbers(demo)
    return demo[steps == steps.max()]


def finetuned_note(rows: pd.DataFrame) -> str:
    """A sentence on the number of fine-tuning iterations of a table's rows."""
    demo = select(rows, scale="demo")
    steps = sorted(set(step_numbers(demo[demo["step"] != ZERO_SHOT])))
    last = f"; scale = demo: at the last step found, {', '.join(map(str, steps))}" if steps else ""
    return f"fine-tuned: after {FINETUNED} iterations{last}"


def incomplete_scales(blocks: Sequence[Block], options: Options) -> list[str]:
    """`scale=<name>` for each scale without a block or with a missing cell in one."""
    cells: dict[str, list[str]] = {scale: [] for scale in options.scales}
    for block in blocks:
        cells[block.labels["scale"]] += [text for line in block.rows for text in line]
    return [f"scale={scale}" for scale, texts in cells.items() if not texts or MISSING in texts]
