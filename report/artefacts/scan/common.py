"""What SCAN's tables and figures share: names, which rows count, columns beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from report.aggregate import Numbers
from report.cells import DAGGER, format_counts, format_papers, format_summary, outside_spread
from report.options import Options
from report.results import Results, select, step_numbers
from report.spec import Column, Line

MODELS = ("LSTM", "GRU", "RNN")
SPLITS = ("validation", "test")
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
BY = (
    *("scale", "protocol", "dataset", "model", "group", "method", "variant"),
    *("step", "split", "metric"),
)


def result_rows(
    results: Results,
    options: Options,
    metric: str | Sequence[str] = "accuracy",
    **wanted: str | Sequence[str],
) -> pd.DataFrame:
    """Rows of validation and test commands as they are, without changes of the inputs' view.

    A demo fine-tunes for fewer iterations: the last step that any row of a model and method has
    counts as `FINETUNED`, and the column `last` tells it. A step that is no whole number is a
    ValueError.
    """
    scales = options.scales
    rows = select(results.ours, task="scan", metric=metric, view="", split=SPLITS, scale=scales)
    tuned = select(rows[rows["step"] != ZERO_SHOT], scale="demo")
    steps = step_numbers(tuned)
    last = steps.groupby([tuned[name] for name in ("protocol", "model", "method")])
    ends = steps.index[steps == last.transform("max")]
    found = rows["step"].mask(rows.index.isin(ends), FINETUNED)
    return select(rows.assign(step=found, last=rows["step"]), **wanted)


def result_numbers(results: Results, options: Options, **wanted: Any) -> Numbers:
    """Numbers of the rows that `result_rows` finds with the same arguments."""
    return Numbers(result_rows(results, options, **wanted), BY, options.spread)


def finetuned_note(rows: pd.DataFrame) -> str:
    """A sentence on the number of fine-tuning iterations of a table's rows."""
    steps = sorted(set(map(int, select(rows, scale="demo", step=FINETUNED)["last"])))
    last = f"; scale = demo: at the last step found, {', '.join(map(str, steps))}" if steps else ""
    return f"fine-tuned: after {FINETUNED} iterations{last}"


def compared(dataset: str = "") -> tuple[Column, ...]:
    """Columns of validation, test, seeds, and what the paper reports.

    They are those of a line's data set, or of one that a label of the line names: its text is the
    group. Cells that differ from the paper's by more than both spreads get a dagger, but for a
    demo, which is another experiment.
    """

    def labels(line: Line, split: str) -> dict[str, str]:
        own = {"dataset": dataset, "group": line.labels[dataset]} if dataset else {}
        return {**own, "split": split}

    def reported(line: Line, split: str) -> tuple[float, float] | None:
        known = {**line.labels, **labels(line, split)}
        return line.paper(**{name: known[name] for name in ("model", "method", "dataset", "split")})

    def ours(line: Line, split: str) -> str:
        found, theirs = line.find(**labels(line, split)), reported(line, split)
        if found is None or theirs is None or line.labels["scale"] != "paper":
            return format_summary(found)
        return format_summary(found) + DAGGER * outside_spread(found, *theirs)

    def papers(line: Line, split: str) -> str:
        return format_papers(reported(line, split))

    def count(line: Line) -> str:
        return format_counts([line.find(**labels(line, split)) for split in SPLITS])

    return (
        *(Column(split, partial(ours, split=split)) for split in SPLITS),
        Column("n", count),
        *(Column(f"paper reports, {split}", partial(papers, split=split)) for split in SPLITS),
    )
