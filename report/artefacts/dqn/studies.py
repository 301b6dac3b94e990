"""Deep Q-learning beyond the paper: equizero by softmax against raw Q-values."""

from __future__ import annotations

import pandas as pd

from experiments.frame.methods import EQUIZERO
from report.artefacts.dqn.common import (
    HEADERS,
    LINE_NOTES,
    REGIME_NOTE,
    REGIMES,
    RETURNS,
    STEP_NOTE,
    Arm,
    difference_line,
    find_arms,
    missing_commands,
    result_rows,
    shown_rows,
    value_line,
)
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

METHOD = EQUIZERO
# How the table names equizero's score, and what of a row's label tells it.
SCORES = {"softmax": "", "raw": "score=raw"}


def scores_table(results: Results, options: Options) -> Table:
    """Table of equizero's scores: softmax of the Q-values against raw Q-values.

    There is one block per scale, regime and environment, with a row for each score and one for
    their difference, seed by seed.
    """
    rows = pd.concat(
        select(result_rows(results, options, departure), method=METHOD).assign(score=score)
        for score, departure in SCORES.items()
    )
    arms = [arm for arm in find_arms(rows, options, "score") if _is_wanted(arm)]
    blocks = tuple(Block(arm.shown_labels, _lines(arm, options)) for arm in arms)
    return Table(
        name="dqn_scores",
        title=f"Return of {METHOD} by its score, the softmax of Q-values or the raw Q-values",
        stub=("score",),
        groups=(ColumnGroup("", HEADERS),),
        blocks=blocks,
        notes=(
            *notes(shown_rows(rows, arms), blocks, options, RETURNS),
            *(*LINE_NOTES, REGIME_NOTE, STEP_NOTE),
        ),
        commands=(
            *missing_commands("figure2", arms, ("softmax",), f"method={METHOD}"),
            *missing_commands("figure2_raw", arms, ("raw",)),
        ),
    )


def _is_wanted(arm: Arm) -> bool:
    return arm.regime in REGIMES[arm.scale] or bool(arm.last("raw"))


def _lines(arm: Arm, options: Options) -> tuple[tuple[str, ...], ...]:
    scores = {score: arm.last(score) for score in SCORES}
    return (
        *(value_line(score, values, arm.dataset, options) for score, values in scores.items()),
        difference_line(scores, "raw", "softmax", arm.dataset, options),
    )
