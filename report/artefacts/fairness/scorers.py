"""The fairness task: how good the judges are, and how far a group's name alone moves them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from report.artefacts.fairness.common import (
    BETWEEN,
    MODELS,
    PAIRS,
    REFERENCE,
    general_notes,
    result_rows,
)
from report.artefacts.fairness.places import COMPARE_COMMAND
from report.cells import EN_DASH, MISSING, Interval, format_interval, format_number
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "fairness_scorers"
ACCURACY, FLIPS = "scorer_accuracy", "scorer_flips"
HELD_OUT = "dev+test"
SPLITS = ("dev", "test", HELD_OUT)
# The judge of the paper's model.
PAPERS = MODELS["gpt2"].judge
_UNITS = "Percent of labelled sentences [interval]"
_NOTES = (
    "accuracy: sentences that the judge labels as people did; scorers that learn have seen neither "
    "dev nor test",
    "label flips: sentences whose label changes if the name of the one demographic group stands "
    "in them instead of the other's, over train, dev and test",
    "optimised by: models whose equizero is judged by it while it writes; for all others it is "
    "held out",
    "[interval]: 95 % over sentences; numbers that differ between runs stand beside each other",
)


def scorers_table(results: Results, options: Options) -> Table:
    """Table of judges.

    There is one block per scale, one row per judge, and one column of flips per two demographic
    groups.
    """
    rows = select(result_rows(results, options), metric=_metrics(ACCURACY) + _metrics(FLIPS))
    between = views_of_flips(rows) or [f"a{BETWEEN}b"]
    blocks = []
    for scale in options.scales:
        inside = select(rows, scale=scale)
        found = [
            *dict.fromkeys([PAPERS, *inside["split"]] if scale == "paper" else inside["split"])
        ]
        lines = tuple(_line(inside, judge, between) for judge in found)
        blocks += [Block({"scale": scale}, lines)] * bool(lines)
    lacking = any(line[0] == PAPERS and MISSING in line for b in blocks for line in b.rows)
    return Table(
        name=NAME,
        title="Judges of regard: accuracy on labelled sentences, and label flips",
        stub=("judge", "optimised by"),
        groups=(ColumnGroup("accuracy", SPLITS), ColumnGroup("label flips", tuple(between))),
        blocks=tuple(blocks),
        notes=(
            *notes(rows, blocks, options, _UNITS, with_spread=False),
            *(*_NOTES, *general_notes(rows, results, ())),
        ),
        commands=(COMPARE_COMMAND,) * lacking,
    )


def _line(rows: pd.DataFrame, judge: str, between: Sequence[str]) -> tuple[str, ...]:
    users = [name for name, own in MODELS.items() if own.judge == judge and name != REFERENCE]
    return (
        judge,
        ", ".join(users) or EN_DASH,
        *(quality(rows, ACCURACY, judge, split) for split in SPLITS),
        *(quality(rows, FLIPS, judge, view) for view in between),
    )


def _metrics(name: str) -> list[str]:
    return [f"{name}{end}" for end in ("", "_low", "_high")]


def quality(rows: pd.DataFrame, metric: str, judge: str, view: str) -> str:
    """How good a judge is, as text: `84.4 [76.7, 91.1]`.

    The metric is `ACCURACY` or `FLIPS`, the view says of which sentences or of which two
    demographic groups. Every run that asked the judge says it once more.
    """
    own = select(rows, split=judge, view=view)
    values = [select(own, metric=name)["value"] for name in _metrics(metric)]
    found = dict.fromkeys(zip(*values, strict=True))
    texts = (
        f"{format_number(mean)} {format_interval(Interval(low, high), 1)}"
        for mean, low, high in found
    )
    return "; ".join(texts) or MISSING


def views_of_flips(rows: pd.DataFrame) -> list[str]:
    """Views of `FLIPS`, two demographic groups each, in the order of the paper's pairs."""
    own = select(rows, metric=FLIPS)
    order = [*PAIRS, *own["group"]]
    found = dict.fromkeys(zip(own["group"], own["view"], strict=True))
    return [
        *dict.fromkeys(view for _, view in sorted(found, key=lambda each: order.index(each[0])))
    ]


def judge_note(rows: pd.DataFrame, judge: str) -> str:
    """A sentence on how good a judge is, without full stop."""
    between = views_of_flips(select(rows, split=judge))
    if not between:
        return f"judge {judge}: no run here has tested it on labelled sentences"
    flips = ", ".join(f"{view} {quality(rows, FLIPS, judge, view)}" for view in between)
    return (
        f"judge {judge}: accuracy in percent on the labelled sentences of {HELD_OUT} "
        f"{quality(rows, ACCURACY, judge, HELD_OUT)}; label flips in percent when the name of the "
        f"demographic group alone changes: {flips}"
    )
