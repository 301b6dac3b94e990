"""Which method to use: for each situation the way that gained most, by task."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

from experiments.frame.methods import EQUITUNE, METHODS
from report.aggregate import Labels, Numbers
from report.artefacts.comparison.tables import (
    GAIN_NOTE,
    PASSES_NOTE,
    cost,
    estimate,
    named,
    places,
    unrun,
)
from report.artefacts.comparison.views import (
    VIEWS,
    WAY,
    View,
    gain,
    is_even,
    label,
    needs,
    view_numbers,
)
from report.cells import EN_DASH, Number
from report.options import Options
from report.results import Results
from report.tables import Block, ColumnGroup, Table

Place = dict[str, str]
NOT_YET = "not run yet"
_HEADERS = ("use", "gain over equitune", "passes", "best of")


class Situation(NamedTuple):
    """What a user has.

    Attributes:
        labels: Whether there are labels, of whatever number.
        trains: Whether the model's last layers are trained in any case.
        even: Whether all views are equally good for the model.
    """

    name: str
    labels: bool = True
    trains: bool = False
    even: bool = False

    def serves(self, view: View) -> bool:
        """Whether a view can be about it."""
        return self.trains == view.name.endswith("_probe") and (self.even or not view.same_views)

    def allows(self, way: Labels) -> bool:
        """Whether a way is open to the user: one with a group, or a model trained for it."""
        method = METHODS[way["method"]]
        return (method.uses_group or method.augments) and (self.labels or needs(way) == "no")


SITUATIONS = (
    Situation("no labels", labels=False),
    Situation("some labels"),
    Situation("you train the head anyway", trains=True),
    Situation("all views are equally good", even=True),
)


def choice_table(results: Results, options: Options) -> Table:
    """Table of situations and tasks, with the way that gained most and what it costs."""
    found = {view: view_numbers(view, results, options) for view in VIEWS.values()}
    return Table(
        name="which_method",
        title="Which method to use, by what you have",
        stub=("you have", "measured on"),
        groups=(ColumnGroup("", _HEADERS),),
        blocks=tuple(
            Block({"scale": scale}, tuple(_lines(found, options._replace(scales=(scale,)))))
            for scale in options.scales
        ),
        notes=(
            *(GAIN_NOTE, PASSES_NOTE),
            "use: the way with the greatest mean gain over the places of the task, or equitune "
            "where none gains; best of: so many were compared, on the inputs that the gain is of",
            "all views are equally good: the model loses less than a point of accuracy on "
            "transformed inputs, or no input is upright",
        ),
        commands=tuple(unrun(found, options)),
    )


def _lines(found: dict[View, Numbers], options: Options) -> Iterator[tuple[str, ...]]:
    for situation in SITUATIONS:
        known = [
            (situation.name, title, *_best(situation, view, numbers, own))
            for view, numbers in found.items()
            if situation.serves(view)
            for title, own in _parts(view, places(view, numbers, options))
        ]
        run = [line for line in known if line[2] != NOT_YET]
        # A task whose views are never alike lacks nothing.
        yield from run if situation.even and run else known


def _parts(view: View, own: list[Place]) -> Iterator[tuple[str, list[Place]]]:
    """Places whose gains have one unit: returns of two environments have not."""
    if not view.steps:
        yield view.title, own
        return
    for dataset in dict.fromkeys(place["dataset"] for place in own):
        inside = [place for place in own if place["dataset"] == dataset]
        yield f"{view.title}, {dataset}", inside


def _best(
    situation: Situation, view: View, numbers: Numbers, inside: list[Place]
) -> tuple[str, str, str, str]:
    """The cells of one situation in one view."""
    run = [
        place
        for place in inside
        if numbers.find(**place, method=EQUITUNE, how="", metric="accuracy")
    ]
    own = [
        place
        for place in run
        if situation.trains or is_even(view, numbers, place) == situation.even
    ]
    gains = {
        tuple(way.values()): found
        for way in numbers.labels(*WAY)
        if situation.allows(way) and (found := _gains(numbers, own, way))
    }
    if not gains:
        return (NOT_YET, EN_DASH, EN_DASH, EN_DASH)
    best = max(gains, key=lambda way: fmean(number.mean for number in gains[way]))
    way = dict(zip(WAY, best, strict=True))
    texts = [estimate(number) for number in gains[best]]
    if best[0] == EQUITUNE:
        texts = [EN_DASH] * len(own)
    passes = {
        number.mean for place in own if (number := numbers.find(**place, **way, metric="passes"))
    }
    titles = (named(place, run) for place in own)
    told = "; ".join(": ".join(pair) for pair in zip(titles, texts, strict=True))
    return label(way), told, cost(passes), str(len(gains))


def _gains(numbers: Numbers, own: list[Place], way: Labels) -> list[Number]:
    """The gains of a way at all places; none where it was not run at each, zeros of equitune."""
    if way["method"] == EQUITUNE:
        return [Number(0.0, None, 0)] * len(own)
    found = [gain(numbers, {**place, **way, "metric": "accuracy"}) for place in own]
    return [each for each in found if each] if all(found) else []
