"""The further methods: a table for each view, and one over all views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from experiments.frame.methods import EQUITUNE, METHODS
from report.aggregate import Labels, Numbers
from report.artefacts.comparison.views import (
    PLACE,
    VIEWS,
    WAY,
    View,
    decimals,
    gain,
    lines,
    needs,
    orders,
    view_numbers,
)
from report.cells import (
    EN_DASH,
    NOT_RUN,
    Number,
    format_digits,
    format_estimate,
    format_mean,
    format_measure,
)
from report.options import Options
from report.plots.words import plain_options
from report.presets import command
from report.results import Results
from report.spec import Column, Line, Spec, seeds
from report.tables import Block, ColumnGroup, Table

# A number of passes, which may not be whole.
passes_of = partial(format_digits, digits=3)
LABELS_NOTE = (
    "labels: whether the weighting, or the model for it, learns from labels; few: one number, a "
    "temperature, by likelihood"
)
PROBES_NOTE = (
    "with the last layers trained: these learn from labels under every method, also where the "
    "column labels says no"
)
PASSES_NOTE = "passes: of the model, per prediction"
GAIN_NOTE = (
    "over equitune: difference on the same inputs, points of accuracy or return; [interval]: 95 % "
    "over inputs, and over seeds where a difference is taken seed by seed"
)


def methods_table(view: View, results: Results, options: Options) -> Table:
    """Table of every way at every place: what it needs, what it costs, what it gains."""
    numbers, spec = view_numbers(view, results, options), _spec(view, options)
    found = spec.sorted(lines(view, numbers, options))
    # Places with rows first.
    found.sort(key=lambda line: not numbers.labels(**{name: line[name] for name in view.place}))
    return spec.build(numbers, options, [{**line, "metric": "accuracy"} for line in found])


def _spec(view: View, options: Options) -> Spec:
    score = "transformed" if view.upright else view.unit.partition(" ")[0]
    upright = (_column("upright", "upright", format_measure),) if view.upright else ()
    return Spec(
        name=view.preset,
        title=f"{view.title}: methods that a user may choose from",
        block=view.place,
        stub=WAY,
        columns={
            "": (
                Column("labels", lambda line: needs(line.labels)),
                _column("trained", "trained", partial(format_mean, decimals=0)),
                _column("passes", "passes", passes_of),
                *upright,
                Column(score, _score),
                Column("over equitune", _over),
                _column("equivariance error", "error", format_digits),
                _column("jump", "jump", format_digits),
                seeds({}),
            )
        },
        units=f"{view.unit}, mean (spread) [interval] over n seeds",
        orders=orders(view, options),
        notes=(
            *(LABELS_NOTE, *[PROBES_NOTE] * view.probes, PASSES_NOTE, GAIN_NOTE),
            "trained: how many numbers were trained, the pretraining not counted",
            "jump: largest change of the output under a tiny step of the input",
            "how: the options in which the arms of the preset differ",
            "rows count if their evaluation says how many passes a prediction takes",
        ),
        words=(*PLACE[:5], "task.regime"),
    )


def _column(header: str, metric: str, form: Callable[[Number | None], str]) -> Column:
    """A column with one number of a line; a dash where its evaluation has none."""

    def show(line: Line) -> str:
        number = line.find(metric=metric)
        return form(number) if number or not line.find() else EN_DASH

    return Column(header, show)


def _score(line: Line) -> str:
    return format_measure(line.find(), decimals=decimals(line.labels["dataset"]))


def _over(line: Line) -> str:
    number = gain(line.numbers, line.labels)
    if line.labels["method"] == EQUITUNE or (line.find() and not number):
        return EN_DASH
    return format_measure(number, True, decimals(line.labels["dataset"]))


def estimate(number: Number, place: Labels) -> str:
    """A gain with its interval."""
    return format_estimate(number, True, decimals(place["dataset"]))


def places(view: View, numbers: Numbers, options: Options) -> list[dict[str, str]]:
    """The places of a view: those of the protocol, and those with other weights."""
    found = ({name: line[name] for name in PLACE} for line in lines(view, numbers, options))
    known = {tuple(place.values()): place for place in found}
    return [place for place in known.values() if _counts(place["departure"])]


def _counts(departure: str) -> bool:
    """Whether rows depart by their weights at most."""
    return not departure or (departure.startswith("checkpoint=") and "," not in departure)


def named(place: Labels, others: list[dict[str, str]]) -> str:
    """A place by the labels that tell it from the others, or else by its model."""
    chosen: list[str] = []
    for name in PLACE[2:]:
        if _kinds(others, [*chosen, name]) > max(_kinds(others, chosen), 1):
            chosen.append(name)
    words = {**place, "departure": plain_options(place["departure"])}
    return ", ".join(words[name] for name in chosen or ["model"] if words[name])


def _kinds(places: list[dict[str, str]], names: list[str]) -> int:
    """How many of some places differ in some labels."""
    return len({tuple(place[name] for name in names) for place in places})


def overview_table(results: Results, options: Options) -> Table:
    """Table over all views: what each way gains over equitune at each place, and what it takes."""
    found = {view: view_numbers(view, results, options) for view in VIEWS.values()}
    own = {view: places(view, numbers, options) for view, numbers in found.items()}
    ways = {
        (line["method"], line["how"]): None
        for view, numbers in found.items()
        for line in lines(view, numbers, options)
        if _counts(line["departure"])
    }
    order = [*METHODS]
    blocks = [
        Block(
            {"scale": scale},
            tuple(
                _row(scale, {"method": method, "how": how}, found, own)
                for method, how in sorted(ways, key=lambda way: order.index(way[0]))
            ),
        )
        for scale in options.scales
    ]
    return Table(
        name="methods",
        title="What each method gains over equitune, what it costs and what it needs",
        stub=WAY,
        groups=(
            ColumnGroup("", ("labels", "passes")),
            *(ColumnGroup(view.title, tuple(dict.fromkeys(_titles(own[view])))) for view in found),
        ),
        blocks=tuple(blocks),
        notes=(
            "Points of accuracy or return over equitune, mean [interval] over seeds",
            *(LABELS_NOTE, PROBES_NOTE, PASSES_NOTE, GAIN_NOTE),
            f"{EN_DASH}: equitune itself, which the others are compared with",
        ),
        commands=tuple(unrun(found, options)),
    )


def _titles(own: list[dict[str, str]]) -> list[str]:
    return [named(place, own) for place in own]


def _row(
    scale: str,
    way: Labels,
    found: dict[View, Numbers],
    own: dict[View, list[dict[str, str]]],
) -> tuple[str, ...]:
    cells: dict[tuple[View, str], str] = {}
    costs = set()
    for view, numbers in found.items():
        for place, title in zip(own[view], _titles(own[view]), strict=True):
            labels = {**place, **way, "metric": "accuracy"}
            cells.setdefault((view, title), NOT_RUN)
            if place["scale"] == scale and numbers.find(**labels):
                number = gain(numbers, labels)
                cells[view, title] = estimate(number, place) if number else EN_DASH
                passes = numbers.find(**{**labels, "metric": "passes"})
                costs |= {passes.mean} if passes else set()
    return (*way.values(), needs(way), cost(costs) or NOT_RUN, *cells.values())


def cost(passes: set[float]) -> str:
    """Numbers of passes: one, or the least and the greatest."""
    ends = dict.fromkeys(f"{end:.3g}" for end in (min(passes), max(passes))) if passes else ()
    return EN_DASH.join(ends)


def unrun(found: dict[View, Numbers], options: Options) -> Iterator[str]:
    """The commands for the views without rows at a scale."""
    for view, numbers in found.items():
        for scale in options.scales:
            if not numbers.labels("scale", scale=scale):
                yield command(view.preset, [{"scale": scale}], ["scale"])
