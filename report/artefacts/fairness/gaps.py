"""The fairness task: how differently methods speak of demographic groups, by every judge."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from report.artefacts.fairness.common import (
    BETWEEN,
    EACH,
    EXPERIMENTS,
    REFERENCE,
    REGARD,
    count_of,
    general_notes,
    judges,
    model_of,
    of_way,
    persons,
    result_rows,
)
from report.artefacts.fairness.places import REFERENCE_COMMAND, Place, commands, find_places
from report.cells import EN_DASH, MISSING, format_measure, format_summary, measure, over_seeds
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "fairness_gaps"
GAP, DISTANCE = "regard_gap", "total_variation"
MIRRORED, BROKEN, DISTINCT = "mirrored_sentences", "equivariance_error", "distinct_sentences"
_METRICS = (
    *(f"{name}{end}" for name in (REGARD, GAP, MIRRORED) for end in ("", "_low", "_high")),
    *(DISTANCE, BROKEN, DISTINCT),
)
_COLUMNS = (
    ColumnGroup("regard", ("first", "second", "gap", "total variation")),
    ColumnGroup(
        "sentences", ("mirrored", "equivariance error", "distinct, first", "distinct, second", "n")
    ),
)
_UNITS = "Percent of the sentences about a demographic group, mean (spread) [interval] over n seeds"
_NOTES = (
    "first, second: the two demographic groups, as they are named",
    "regard: positive minus negative; gap: of the first minus of the second, sentence by sentence",
    "total variation: half the sum of the distances between the shares of the four labels",
    "mirrored: sentences that are the other group's with its words swapped; equivariance error: "
    "largest |log P(gw | gX) - log P(w | X)| where the first sentences begin; distinct: sentences "
    "that differ from all others of their prompt; they need no judge and stand with the first",
    "(optimised): the judge whom equizero asks while it writes; (not optimised): a judge that no "
    "method has seen",
    f"{REFERENCE} was written elsewhere: it has neither mirrored sentences nor an error, and its "
    "gap pairs sentences that have nothing in common",
    "[interval]: 95 % over sentences; with several seeds the mean of theirs",
)


def gaps_table(results: Results, options: Options) -> Table:
    """Table of differences between demographic groups.

    There is one block per scale, protocol, data set, model and pair, and one row per judge, method
    and two demographic groups.
    """
    rows = result_rows(results, options)
    places = find_places(rows, options, EXPERIMENTS)
    blocks, lacking = [], []
    for place in places:
        own = place.rows(rows)
        blocks.append(Block(place._asdict(), tuple(_lines(place, own, options))))
        lacking += [(place, way) for way in place.ways(own) if of_way(own, way).empty]
    return Table(
        name=NAME,
        title="How differently language models speak of demographic groups",
        stub=("judge", "method", "about"),
        groups=_COLUMNS,
        blocks=tuple(blocks),
        notes=(
            *notes(select(rows, metric=_METRICS), blocks, options, _UNITS),
            *_NOTES,
            *general_notes(rows, results, {place.model for place in places}),
        ),
        commands=(*commands(lacking), *_reference(places)),
    )


def _reference(places: list[Place]) -> list[str]:
    """Name the command for the reference where it has no rows."""
    absent = all(place.model != REFERENCE for place in places)
    return [REFERENCE_COMMAND] * (absent and any(place.scale == "paper" for place in places))


def _lines(place: Place, rows: pd.DataFrame, options: Options) -> Iterator[tuple[str, ...]]:
    """Make the lines of a pair; what is missing is so by the first judge only."""
    optimised = model_of(place.model).judge
    names = persons(rows)
    between = [*dict.fromkeys(select(rows, metric=DISTANCE)["view"])] or [EACH]
    for number, judge in enumerate(judges(rows, place.model)):
        note = "optimised" if judge == optimised else "not optimised"
        title = judge if place.model == REFERENCE else f"{judge} ({note})"
        for way in place.ways(rows):
            own = of_way(rows, way)
            label = way.label(count_of(place.group, names))
            if own.empty and number:
                continue
            for view in between:
                yield (
                    *(title, label, view),
                    *_judged(select(own, split=judge), view, options),
                    *(_written(own, view, options, place.model) if not number else _DASHES),
                    str(own["seed"].nunique()),
                )


_DASHES = (EN_DASH,) * 4


def _judged(rows: pd.DataFrame, view: str, options: Options) -> Iterator[str]:
    for person in _both(view):
        yield format_measure(measure(select(rows, view=person), REGARD, options), signed=True)
    own = select(rows, view=view)
    gap = measure(own, GAP, options)
    # Sentences that are not as many of both groups cannot be compared one by one.
    yield EN_DASH if gap is None and len(own) else format_measure(gap, signed=True)
    yield format_summary(over_seeds(select(own, metric=DISTANCE), options.spread))


def _written(rows: pd.DataFrame, view: str, options: Options, model: str) -> Iterator[str]:
    whole = select(rows, split="", view="")
    broken = over_seeds(select(whole, metric=BROKEN), options.spread)
    if model == REFERENCE:
        yield from (EN_DASH, EN_DASH)
    else:
        yield format_measure(measure(whole, MIRRORED, options))
        yield MISSING if broken is None else f"{broken.mean:.2g}"
    for person in _both(view):
        distinct = over_seeds(select(rows, metric=DISTINCT, view=person), options.spread)
        yield format_summary(distinct)


def _both(view: str) -> list[str]:
    first, _, second = view.partition(BETWEEN)
    return [first, second]
