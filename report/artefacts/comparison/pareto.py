"""The further methods: accuracy, or return, against passes of the model per prediction."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from experiments.frame.methods import METHODS
from report.aggregate import Labels, Numbers
from report.artefacts.comparison.tables import PASSES_NOTE, passes_of
from report.artefacts.comparison.views import (
    PLACE,
    PROTOCOL,
    WAY,
    View,
    label,
    lines,
    orders,
    view_numbers,
)
from report.cells import EN_DASH, MISSING, NUMBER_HEADERS, Number, format_measure, number_cells
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.panels import arrange, end_mark, spread_errors
from report.plots.points import Point, PointPanel, Style, draw_points, staircase
from report.plots.words import plain, plain_options, plain_protocol
from report.results import Results
from report.spec import Column, Line, Spec, seeds, shown

Key = tuple[str, ...]
#: Place to way to its passes and its score.
Panels = Mapping[Key, Mapping[Key, tuple[Number, Number]]]
# Of a panel's title, in characters.
_WIDTH = 48


def pareto_figure(view: View, results: Results, options: Options) -> Figure:
    """One panel per place with rows, one point per way, and the staircase of the best so far."""
    numbers = view_numbers(view, results, options, shared=True)
    panels: dict[Key, dict[Key, tuple[Number, Number]]] = {}
    spec = _spec(view, options, panels)
    wanted = spec.sorted(lines(view, numbers, options))
    for line in wanted:
        passes, score = (numbers.find(**line, metric=name) for name in ("passes", "accuracy"))
        if passes and score:
            place = tuple(line[name] for name in view.place)
            panels.setdefault(place, {})[line["method"], line["how"]] = (passes, score)
    ways = [*dict.fromkeys((line["method"], line["how"]) for line in wanted)]
    whole = view_numbers(view, results, options)
    fewest = [*_fewest(view, whole, wanted)]
    return Figure(
        digest=spec.build(
            numbers,
            options,
            [{**line, "metric": "accuracy"} for line in wanted],
            extra=lambda rows: fewest,
        ),
        headers=(*view.place, *WAY, "passes", *NUMBER_HEADERS),
        rows=tuple(
            (*place, *way, repr(passes.mean), *number_cells(score))
            for place, own in panels.items()
            for way, (passes, score) in own.items()
        ),
        draw=lambda: _draw(view, panels, ways, options),
    )


def _spec(view: View, options: Options, panels: Panels) -> Spec:
    """The digest; `panels` may be filled in until it is built."""

    def best(line: Line) -> str:
        place, way = (tuple(line.labels[name] for name in names) for names in (view.place, WAY))
        own = {key: _point(*pair) for key, pair in panels.get(place, {}).items()}
        if way not in own:
            return MISSING
        point = own[way]
        return "yes" if (point.cost, point.mark.value) in staircase([*own.values()]) else EN_DASH

    return Spec(
        name=f"pareto_{view.name}",
        title=f"{view.title}: {view.unit.partition(' ')[0]} against passes per prediction",
        block=view.place,
        stub=WAY,
        columns={
            "": (
                shown("passes", passes_of, metric="passes"),
                shown(view.unit.partition(" ")[0], format_measure),
                Column("best so far", best),
                seeds({}),
            )
        },
        units=f"{view.unit}, mean (spread) [interval] over n seeds",
        orders=orders(view, options),
        notes=(
            PASSES_NOTE,
            "seeds: those that all ways of a panel have, where there are some",
            "points of as many passes, within 2 %, stand in one band; bar: one spread to each "
            "side, and for a single seed the 95 % interval over inputs",
            "line, best so far: what is better than all that takes fewer passes or as many",
        ),
        preset=view.preset,
        words=(*PLACE[:5], "task.regime"),
    )


def _fewest(view: View, whole: Numbers, wanted: Sequence[Labels]) -> Iterator[str]:
    """Name the ways because of which seeds of the others do not count, panel by panel."""
    counts: dict[Key, dict[str, int]] = {}
    for line in wanted:
        if score := whole.find(**line, metric="accuracy"):
            place = tuple(line[name] for name in view.place)
            counts.setdefault(place, {})[label(line)] = score.seeds
    for place, own in counts.items():
        least = min(own.values())
        if least < max(own.values()):
            names = ", ".join(name for name, count in own.items() if count == least)
            yield f"{', '.join(filter(None, place))}: others have more seeds than {names}"


def _point(passes: Number, score: Number) -> Point:
    return Point(passes.mean, end_mark(score))


def _draw(view: View, panels: Panels, ways: Sequence[Key], options: Options) -> Drawing:
    names = {way: label(dict(zip(WAY, way, strict=True))) for way in ways}
    known: dict[Key, PointPanel | None] = {
        _in_grid(view, place): PointPanel(
            _title(view, place, options), {names[way]: _point(*pair) for way, pair in own.items()}
        )
        for place, own in panels.items()
    }
    order = [*METHODS]
    methods = [method for method, _ in ways]
    # Ways of one method have its colour and marker, and differ by how the marker is filled.
    styles = {
        names[way]: Style(
            METHODS[way[0]].colour, order.index(way[0]), place - methods.index(way[0])
        )
        for place, way in sorted(enumerate(ways), key=lambda each: order.index(each[1][0]))
    }
    grid = arrange(known, column=0)
    errors = spread_errors("error bar", options.spread, "inputs")
    return draw_points(grid, styles, "passes per prediction", view.unit, errors)


def _in_grid(view: View, place: Key) -> Key:
    """The key of a panel: first what its column is of, then the other labels."""
    own = dict(zip(view.place, place, strict=True))
    column = ", ".join(own.pop(name) for name in view.columns)
    return (column, *own.values())


def _title(view: View, place: Key, options: Options) -> str:
    own = dict(zip(view.place, place, strict=True))
    head = ", ".join([own["model"], plain(own["dataset"]), plain(own["group"])])
    further = [f"regime {own['regime']}"] if view.steps else []
    further += [plain_protocol(own["protocol"])] * (own["protocol"] != PROTOCOL)
    further += [f"scale {own['scale']}"] * (len(options.scales) > 1)
    further += [plain_options(own["departure"])] * bool(own["departure"])
    return "\n".join([head, *textwrap.wrap(", ".join(further), _WIDTH)])
