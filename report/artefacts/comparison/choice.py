"""Which method to use: for each situation the way that gained most at the least cost, by task."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

from experiments.frame.methods import EQUITUNE, METHODS, PRETRAINED
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
    decimals,
    gain,
    is_even,
    label,
    needs,
    view_numbers,
)
from report.cells import EN_DASH, Number, format_number
from report.options import Options
from report.results import Results
from report.tables import Block, ColumnGroup, Table

Place = dict[str, str]
NOT_YET = "not run yet"
_HEADERS = ("use", "transformed", "upright", "gain over equitune", "passes", "best of")
#: Points of accuracy by which a way may be behind the best and still be the one to use.
_NEAR = 1.0
_ARROW = "\N{RIGHTWARDS ARROW}"


class Situation(NamedTuple):
    """What a user has.

    Attributes:
        labels: Whether there are labels, of whatever number.
        trains: Whether the model, or its last layers, are trained in any case.
        even: Whether all views are equally good for the model.
    """

    name: str
    labels: bool = True
    trains: bool = False
    even: bool = False

    def serves(self, view: View) -> bool:
        """Whether a view can be about it."""
        if view.same_views and not self.even:
            return False
        return view.trains if self.trains else not view.name.endswith("_probe")

    def allows(self, way: Labels) -> bool:
        """Whether a way is open to the user: one with a group, or a model trained for it."""
        method = METHODS[way["method"]]
        if method.augments:
            return self.trains
        return method.uses_group and (self.labels or needs(way) == "no")


SITUATIONS = (
    Situation("no labels", labels=False),
    Situation("some labels"),
    Situation("you train the model anyway", trains=True),
    Situation("all views are equally good", even=True),
)


def choice_table(results: Results, options: Options) -> Table:
    """Table of situations and tasks, with the way that gained most and what it costs."""
    found = {view: view_numbers(view, results, options, shared=True) for view in VIEWS.values()}
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
            "use: of the ways that are at most a point of accuracy behind the greatest mean gain "
            "over the places of the task (of returns: within the interval of the greatest gain), "
            "the one with the fewest passes, then the one that needs least, then (of accuracy) the "
            "best; best of: so many were compared, on the inputs that the gain is of, over the "
            "seeds that all of them have",
            "transformed, upright: the score on such inputs, without a method and with it; where "
            "the model is trained anyway, without a method it is trained on upright inputs",
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
) -> tuple[str, ...]:
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
        return (NOT_YET, *[EN_DASH] * (len(_HEADERS) - 1))
    means = {way: fmean(number.mean for number in found) for way, found in gains.items()}
    top = max(gains, key=lambda key: means[key])

    def is_near(key: tuple[str, ...]) -> bool:
        if not view.steps:
            return means[key] >= means[top] - _NEAR
        ends = [number.interval[0] if number.interval else number.mean for number in gains[top]]
        return all(one.mean >= end for one, end in zip(gains[key], ends, strict=True))

    def burden(key: tuple[str, ...]) -> tuple[float, int, float, int]:
        way = dict(zip(WAY, key, strict=True))
        passes = max(_passes(numbers, own, way), default=0.0)
        # Of returns, what lies within the best one's interval is not told apart by its mean.
        gained = 0.0 if view.steps else means[key]
        return passes, _needed(way), -gained, [*METHODS].index(way["method"])

    best = min(filter(is_near, gains), key=burden)
    way = dict(zip(WAY, best, strict=True))
    texts = [estimate(number, place) for number, place in zip(gains[best], own, strict=True)]
    if best[0] == EQUITUNE:
        texts = [EN_DASH] * len(own)
    titles = [named(place, run) for place in own]
    changes = (
        _told(titles, [_change(numbers, place, way, metric) for place in own])
        for metric in ("accuracy", "upright")
    )
    passes = _passes(numbers, own, way)
    return label(way), *changes, _told(titles, texts), cost(passes), str(len(gains))


def _told(titles: list[str], texts: list[str]) -> str:
    """A text for each place; a dash where none has any."""
    if set(texts) == {""}:
        return EN_DASH
    return "; ".join(": ".join(pair) for pair in zip(titles, texts, strict=True))


def _change(numbers: Numbers, place: Place, way: Labels, metric: str) -> str:
    """A number without a method, and that with a way; empty without them."""
    alone = {"method": PRETRAINED, "how": ""}
    ends = [numbers.find(**place, **each, metric=metric) for each in (alone, way)]
    shown = decimals(place["dataset"])
    texts = [format_number(end.mean, decimals=shown) for end in ends if end]
    return f" {_ARROW} ".join(texts) if all(ends) else ""


def _passes(numbers: Numbers, own: list[Place], way: Labels) -> set[float]:
    found = (numbers.find(**place, **way, metric="passes") for place in own)
    return {number.mean for number in found if number}


def _needed(way: Labels) -> int:
    """The rank of what a way needs: nothing, one number, a network, labels, the whole model."""
    method, labels = METHODS[way["method"]], needs(way)
    if labels == "no":
        return 2 if method.is_fitted else 0
    return (4 if method.augments else 3) if labels == "yes" else 1


def _gains(numbers: Numbers, own: list[Place], way: Labels) -> list[Number]:
    """The gains of a way at all places; none where it was not run at each, zeros of equitune."""
    if way["method"] == EQUITUNE:
        return [Number(0.0, None, 0)] * len(own)
    found = [gain(numbers, {**place, **way, "metric": "accuracy"}) for place in own]
    return [each for each in found if each] if all(found) else []
