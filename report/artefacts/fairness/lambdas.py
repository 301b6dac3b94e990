"""The fairness task: what learned weights of the contexts gain over equal ones."""

from __future__ import annotations

import pandas as pd

from report.artefacts.fairness.common import EXPERIMENTS, LAMBDA, general_notes, of_way, result_rows
from report.artefacts.fairness.places import Place, commands, find_places
from report.cells import MISSING, format_measure, measure
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "fairness_lambda"
LOSS = "negative_log_likelihood"
_PARTS = ("uniform", "learned", "gain")
_DECIMALS = 4
_HEADERS = ("equal weights", "learned weights", "gain", "n")
_UNITS = (
    "Negative log-likelihood of a token in nats, mean (spread) [interval] over n seeds; less is "
    "better"
)
_NOTES = (
    "sentences: the pretrained model's own about all demographic groups, a fifth of them held out "
    "from learning; these are the held-out ones",
    "gain: equal weights (equitune) minus learned weights (lambda_equitune), the mean over the "
    "sentences of the mean over their tokens; above zero the learned weights are better",
    "[interval]: 95 % over sentences; with several seeds the mean of theirs",
    "lambda for language is ours; the paper has none",
)


def lambda_table(results: Results, options: Options) -> Table:
    """Table of lambda's gain.

    There is one block per scale, protocol and data set, and one row per model and pair.
    """
    every = result_rows(results, options)
    rows = select(of_way(every, LAMBDA), split="validation", view="")
    blocks: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    places = [
        place
        for place in find_places(every, options, EXPERIMENTS)
        if LAMBDA in place.ways(place.rows(every))
    ]
    lacking = []
    for place in places:
        line = _line(place, place.rows(rows), options)
        blocks.setdefault(place[:3], []).append(line)
        lacking += [(place, LAMBDA)] * (MISSING in line)
    parts = tuple(
        Block(dict(zip(Place._fields, key, strict=False)), tuple(lines))
        for key, lines in blocks.items()
    )
    shown = [f"{LOSS}_{part}" for part in _PARTS]
    return Table(
        name=NAME,
        title="Learned weights of the contexts (lambda_equitune) against equal ones",
        stub=("model", "pair"),
        groups=(ColumnGroup("", _HEADERS),),
        blocks=parts,
        notes=(
            *notes(select(rows, metric=shown), parts, options, _UNITS),
            *_NOTES,
            *general_notes(rows, results, {place.model for place in places}),
        ),
        commands=commands(lacking),
    )


def _line(place: Place, rows: pd.DataFrame, options: Options) -> tuple[str, ...]:
    found = [measure(rows, f"{LOSS}_{part}", options) for part in _PARTS]
    return (
        *(place.model, place.group),
        *(format_measure(n, n is found[-1], _DECIMALS) for n in found),
        str(rows["seed"].nunique()),
    )
