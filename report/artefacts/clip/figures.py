"""CLIP: Figures 4, 7 and 8, accuracy without training on transformed images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from experiments.frame.methods import METHODS, PRETRAINED, own_group
from report.aggregate import Numbers
from report.artefacts.clip import common
from report.artefacts.clip.common import ACCURACY, ARM, LAMBDA, PLACE
from report.cells import EN_DASH, NUMBER_HEADERS, Number, format_measure, number_cells
from report.figures import Figure
from report.options import Options
from report.plots.bars import BarLook, Bars, bar_grid, bar_limits, draw_bars
from report.plots.panels import PURPLE, VERMILION, end_mark
from report.presets import axes
from report.results import Results, select
from report.spec import Column, Line, shown
from report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TITLES = {
    "figure4": "Figure 4: zero-shot CLIP on transformed ImageNet-V2",
    "figure7": "Figure 7: zero-shot pretrained CLIP on transformed CIFAR-100",
    "figure8": "Figure 8: zero-shot CLIP on transformed CIFAR-100",
}
# Title of each panel, to the transform of its images; "": pretrained, with all of them.
PANELS = {
    "figure4": {"a: pretrained": "", "b: rot90": "rot90", "c: rot180": "rot180"},
    "figure7": {PRETRAINED: ""},
    "figure8": {"a: rot90": "rot90", "b: rot180": "rot180"},
}
# Transforms in the order of columns, and how a table names them.
TRANSFORMS = {"none": "upright", "rot180": "rot180", "rot90": "rot90"}
_NOTES = (
    *(common.FLIP_NOTE, common.IMAGES_NOTE, common.INTERVAL_NOTE),
    "error bars: one spread to each side, and for a single seed the interval; diamonds: the number "
    "of the same bar in the paper",
    *(common.SOURCE_NOTE, common.OURS_NOTE),
)
_BEYOND = "{} stands in no such figure of the paper; it is shown where it has rows"
_TICK = 10
#: A bar: a method, and the transform of the images.
Way = tuple[str, str]


def label(method: str, transform: str) -> str:
    """The name of a bar in the legend: one for the same number in every panel."""
    known = METHODS[method]
    if not known.uses_group:
        return f"{known.label}, {TRANSFORMS[transform]}"
    return f"{known.label} (ours)" if method == LAMBDA else known.label


def colours() -> dict[str, str]:
    """Label to colour, in the order of the legend."""
    drops = zip(TRANSFORMS, (PURPLE, VERMILION, METHODS[PRETRAINED].colour), strict=True)
    found = {label(name, each): m.colour for name, m in METHODS.items() for each in TRANSFORMS}
    return found | {label(PRETRAINED, each): colour for each, colour in drops}


def zero_shot_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 4, 7 or 8: accuracy of each model on transformed images.

    There is a row of panels per scale and protocol with rows, and bars are grouped by model;
    without rows of ours there is no picture.
    """
    rows = common.of_data(common.result_rows(results, options, trained=False), name)
    rows = select(rows[common.in_own_group(rows)], departure="", step="", view="")
    rows = select(rows, metric=[f"{ACCURACY}{end}" for end in common.ENDS])
    panels = {title: _ways(name, transform, rows) for title, transform in PANELS[name].items()}
    ways = [*dict.fromkeys(way for own in panels.values() for way in own)]
    there = [way in ways for way in zip(rows["method"], rows["transform"], strict=True)]
    numbers = Numbers(rows.loc[there], (*ARM, "method", "transform", "metric"), options.spread)
    reported = select(common.reported_rows(results, name), metric=ACCURACY)
    models = [Line(arm, numbers, reported) for arm in common.arms(numbers, name, options)]
    return Figure(
        digest=_digest(name, ways, models, options),
        headers=(*ARM, "group", "method", "transform", *NUMBER_HEADERS),
        rows=tuple(row for line in models for row in _number_rows(line, ways)),
        draw=lambda: _draw(panels, models, options),
    )


def _ways(name: str, transform: str, rows: pd.DataFrame) -> list[Way]:
    """The bars of a panel: those of the preset, and of further methods with rows."""
    if not transform:
        return [(PRETRAINED, each) for each in TRANSFORMS]
    return [(m, transform) for m in common.methods_of(axes(name)["method"], rows["method"])]


def _bars(line: Line, ways: Iterable[Way]) -> Iterator[tuple[Way, Number, float | None]]:
    """The bars of a model with rows, each with the paper's number."""
    for method, transform in ways:
        labels = {"method": method, "transform": transform}
        number = line.find(**labels, metric=ACCURACY)
        if number is not None:
            yield (method, transform), number, common.paper(line, **labels)


def _number_rows(line: Line, ways: Sequence[Way]) -> Iterator[tuple[str, ...]]:
    """All numbers drawn: ours, and beside each the paper's."""
    scale, protocol, *names = (line.labels[name] for name in ARM)
    for way, number, reported in _bars(line, ways):
        own = (*names, own_group(*way), *way)
        yield (scale, protocol, *own, *number_cells(number))
        if reported is not None:
            yield ("paper", "reported", *own, repr(reported), "", "", "", "")


def _digest(name: str, ways: Sequence[Way], models: Sequence[Line], options: Options) -> Table:
    """One line per model and method; what no panel has is a dash."""
    made, used = axes(name)["method"], {transform for _, transform in ways}
    headers = {each: header for each, header in TRANSFORMS.items() if each in used}

    def own(line: Line) -> list[str]:
        return [each for each in headers if (line.labels["method"], each) in ways]

    def dashed(column: Column, transform: str) -> Column:
        return Column(column.header, lambda e: column.show(e) if transform in own(e) else EN_DASH)

    def count(line: Line) -> str:
        return common.least_most(*({"transform": each} for each in own(line))).show(line)

    ours = [dashed(shown(text, format_measure, transform=t), t) for t, text in headers.items()]
    spec = common.bars_spec(
        name,
        TITLES[name],
        stub=("model", "method"),
        columns={
            "ours": [*ours, Column("n", count)],
            "paper reports": [
                dashed(common.papers(text, transform=t), t) for t, text in headers.items()
            ],
        },
        units="Top-1 accuracy in percent, mean (spread) [interval] over n seeds",
        notes=_NOTES,
    )
    lines = [
        {**model.labels, "method": method, "metric": ACCURACY}
        for model in models
        for method in dict.fromkeys(method for method, _ in ways)
        if method in made or any(_bars(model, (way for way in ways if way[0] == method)))
    ]

    def beyond(rows: pd.DataFrame) -> list[str]:
        found = common.methods_of((), rows["method"])
        return [_BEYOND.format(method) for method in found if method not in made]

    return spec.build(models[0].numbers, options, lines, models[0].reported, beyond)


def _draw(panels: Mapping[str, Sequence[Way]], models: Sequence[Line], options: Options) -> Drawing:
    bars: Bars = {}
    for line in models:
        for title, ways in panels.items():
            found = {
                label(*way): end_mark(number, reported)
                for way, number, reported in _bars(line, ways)
            }
            key = (*(line.labels[name] for name in PLACE), title)
            bars.setdefault(key, {})[common.in_picture(line.labels["model"])] = found

    def head(panel: tuple[str, ...]) -> str:
        scale, protocol, data, name = panel
        return f"{name}, {data}\n{common.place(scale, protocol, options)}"

    grid = bar_grid(bars, head, column=3)
    # In one row the labels would be wider than the panels.
    columns = min(len(panels) + 1, 3)
    limits = bar_limits(grid, _TICK)
    return draw_bars(grid, BarLook(colours(), "top-1 accuracy (%)", limits, columns=columns))
