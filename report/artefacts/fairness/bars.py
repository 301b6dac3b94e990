"""The fairness task: rows of Figures 3 and 9 sorted into bars: ways and demographic groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.rows import LABELS
from report.artefacts.fairness.common import PLAIN, REFERENCE, Way, judges, of_way, persons
from report.artefacts.fairness.places import Place, find_places
from report.artefacts.fairness.scorers import ACCURACY, FLIPS, HELD_OUT, quality
from report.cells import over_seeds
from report.measures import Measure, measure
from report.options import Options
from report.results import select

REGARD = "regard"
METRICS = (
    *(f"{name}{end}" for name in (*LABELS, REGARD) for end in ("", "_low", "_high")),
    "sentences",
)


class Shares(NamedTuple):
    """How the sentences of a way about one demographic group are labelled.

    `numbers` has `REGARD`, and the share of each label in percent; `sentences` is the number per
    seed.
    """

    numbers: Mapping[str, Measure]
    sentences: int


class Arm(NamedTuple):
    """One panel.

    Attributes:
        bars: Way to demographic group to bar; ways without rows are empty.
        reference: The same of the reference's text, labelled by the same judge; empty if there is
            none.
        accuracy: The judge's, on labelled sentences.
        flips: The judge's, between the first two demographic groups.
    """

    place: Place
    judge: str
    persons: Sequence[str]
    bars: Mapping[Way, Mapping[str, Shares]]
    reference: Mapping[str, Shares]
    accuracy: str
    flips: str

    @property
    def drawn(self) -> bool:
        """Whether there is something of its own to draw."""
        return any(self.bars.values())


def find_arms(rows: pd.DataFrame, options: Options, dataset: str) -> list[Arm]:
    """Panels with rows and without; the reference stands in the others."""
    return [
        _arm(rows, place, options)
        for place in find_places(rows, options, [dataset])
        if place.model != REFERENCE
    ]


def _arm(rows: pd.DataFrame, place: Place, options: Options) -> Arm:
    own = place.rows(rows)
    judge = judges(own, place.model)[0]
    bars = {way: _bars(of_way(own, way), judge, options) for way in place.ways(own)}
    reference = of_way(place._replace(model=REFERENCE).rows(rows), PLAIN) if len(own) else own
    views = [*dict.fromkeys(select(own, metric=FLIPS)["view"])]
    return Arm(
        place,
        judge,
        persons(own),
        bars,
        _bars(reference, judge, options),
        quality(own, ACCURACY, judge, HELD_OUT),
        quality(own, FLIPS, judge, views[0] if views else ""),
    )


def _bars(rows: pd.DataFrame, judge: str, options: Options) -> dict[str, Shares]:
    found = {}
    labelled = select(rows, split=judge)
    for person in dict.fromkeys(select(labelled, metric=LABELS[0])["view"]):
        own = select(labelled, view=person)
        numbers = {name: measure(own, name, options) for name in (*LABELS, REGARD)}
        written = over_seeds(select(rows, metric="sentences", view=person))
        found[str(person)] = Shares(
            {name: number for name, number in numbers.items() if number is not None},
            round(written.mean) if written else 0,
        )
    return found
