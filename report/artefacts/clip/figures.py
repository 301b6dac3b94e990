"""CLIP: Figures 4, 7 and 8, accuracy without training on transformed images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import pandas as pd

from experiments.frame.methods import METHODS, PRETRAINED, own_group
from report.aggregate import Numbers, Papers
from report.artefacts.clip import common
from report.artefacts.clip.common import ACCURACY, ARM, LAMBDA, PLACE
from report.cells import EN_DASH, NUMBER_HEADERS, Number, format_measure, number_cells
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.bars import BarLook, Bars, bar_grid, bar_limits, draw_bars
from report.plots.panels import (
    PURPLE,
    VERMILION,
    YELLOW,
    end_mark,
    plain_mark,
    spread_errors,
)
from report.plots.words import plain
from report.presets import axes, default
from report.results import Results, select
from report.spec import Column, Line, shown
from report.tables import Table

TITLES = {
    "figure4": "Figure 4: zero-shot CLIP on transformed ImageNet-V2",
    "figure7": "Figure 7: zero-shot pretrained CLIP on transformed CIFAR-100",
    "figure8": "Figure 8: zero-shot CLIP on transformed CIFAR-100",
}
# Title of each panel, to the transform of its images; "": pretrained, with all of them.
PANELS = {
    "figure4": {
        "a: pretrained": "",
        **{f"{part}: {plain(each)}": each for part, each in (("b", "rot90"), ("c", "rot180"))},
    },
    "figure7": {PRETRAINED: ""},
    "figure8": {f"{part}: {plain(each)}": each for part, each in (("a", "rot90"), ("b", "rot180"))},
}
# Transforms in the order of columns, and how a table names them.
TRANSFORMS = {"none": "upright", "rot180": "rot180", "rot90": "rot90"}
_NOTES = (
    *(common.FLIP_NOTE, common.IMAGES_NOTE, common.INTERVAL_NOTE),
    "error bars: one spread to each side, and for a single seed the interval; diamonds, of models "
    "that are the paper's: the number of the same bar in the paper; its models without rows of "
    "ours stand in panels of their own",
    *(common.SOURCE_NOTE, common.OURS_NOTE),
)
_BEYOND = "{} stands in no such figure of the paper; it is shown where it has rows"
_TICK = 10
# Of the paper's models that have no rows of ours.
_PAPERS = {"scale": "paper", "protocol": "reported"}
#: A bar: a method, and the transform of the images.
Way = tuple[str, str]


def label(method: str, transform: str = "") -> str:
    """The name of a bar in the legend, with a transform where a panel has several."""
    name = METHODS[method].label
    return f"{name}, {plain(TRANSFORMS[transform])}" if transform else name


def colours() -> dict[str, str]:
    """Label to colour, in the order of the legend."""
    turned = zip(TRANSFORMS, (PURPLE, VERMILION, YELLOW), strict=True)
    parts = {label(PRETRAINED, each): colour for each, colour in turned}
    return parts | {label(name): method.colour for name, method in METHODS.items()}


def zero_shot_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 4, 7 or 8: accuracy of each model on transformed images.

    There is a row of panels per scale and protocol with rows, and bars are grouped by model; the
    paper's models without rows of ours have a row of their own. Without any rows of ours there is
    no picture.
    """
    rows = common.of_data(common.result_rows(results, options, trained=False), name)
    rows = select(rows[common.in_own_group(rows)], departure="", step="", view="")
    rows = select(rows, metric=[f"{ACCURACY}{end}" for end in common.ENDS])
    panels = {title: _ways(name, transform, rows) for title, transform in PANELS[name].items()}
    ways = [*dict.fromkeys(way for own in panels.values() for way in own)]
    there = [way in ways for way in zip(rows["method"], rows["transform"], strict=True)]
    numbers = Numbers(rows.loc[there], (*ARM, "method", "transform", "metric"), options.spread)
    reported = Papers(select(common.reported_rows(results, name), metric=ACCURACY))
    models = [Line(arm, numbers, reported) for arm in common.arms(numbers, name, options)]
    drawn = [line.labels["model"] for line in models if [*_bars(line, ways)]]
    papers = [
        Line(
            {**_PAPERS, "dataset": common.dataset(name, "paper"), "model": model}, numbers, reported
        )
        for model in common.MODELS
        if drawn and model not in drawn and "paper" in options.scales
    ]
    return Figure(
        digest=_digest(name, ways, models, options),
        headers=(*ARM, "group", "method", "transform", *NUMBER_HEADERS),
        rows=tuple(row for line in (*models, *papers) for row in _number_rows(line, ways)),
        draw=lambda: _draw(name, panels, [*models, *papers], options),
    )


def _ways(name: str, transform: str, rows: pd.DataFrame) -> list[Way]:
    """The bars of a panel: those of the preset, and of further methods with rows."""
    if not transform:
        return [(PRETRAINED, each) for each in TRANSFORMS]
    return [(m, transform) for m in common.methods_of(axes(name)["method"], rows["method"])]


def _bars(line: Line, ways: Iterable[Way]) -> Iterator[tuple[Way, Number | None, float | None]]:
    """The bars of a model: ours, each with the paper's number; in the paper's panels that alone."""
    for method, transform in ways:
        labels = {"method": method, "transform": transform}
        number, papers = line.find(**labels, metric=ACCURACY), common.paper(line, **labels)
        if number or (papers is not None and line.labels["protocol"] == _PAPERS["protocol"]):
            yield (method, transform), number, papers


def _number_rows(line: Line, ways: Sequence[Way]) -> Iterator[tuple[str, ...]]:
    """All numbers drawn: ours, and beside each the paper's."""
    scale, protocol, *names = (line.labels[name] for name in ARM)
    for way, number, reported in _bars(line, ways):
        own = (*names, own_group(*way), *way)
        if number:
            yield (scale, protocol, *own, *number_cells(number))
        if reported is not None:
            yield (*_PAPERS.values(), *own, repr(reported), "", "", "", "")


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


def _draw(
    name: str,
    panels: Mapping[str, Sequence[Way]],
    models: Sequence[Line],
    options: Options,
) -> Drawing:
    bars: Bars = {}
    for (title, ways), line in product(panels.items(), models):
        key = (*(line.labels[each] for each in PLACE), title)
        several = not PANELS[name][title]
        bars.setdefault(key, {})[common.in_picture(line.labels["model"])] = {
            label(method, transform * several): end_mark(number, papers)
            if number
            else plain_mark(papers or 0.0)
            for (method, transform), number, papers in _bars(line, ways)
        }

    def head(panel: tuple[str, ...]) -> str:
        scale, protocol, data, title = panel
        if protocol == _PAPERS["protocol"]:
            return f"{title}, {plain(data)}\nthe paper's models, its numbers of one seed"
        return f"{title}, {plain(data)}\n{common.place(scale, protocol, options)}"

    # Panels stand in columns; a single kind of them has one for each protocol.
    grid = bar_grid(bars, head, column=3 if len(panels) > 1 else 1)
    added = any(way[0] == LAMBDA for ways in panels.values() for way in ways)
    look = BarLook(
        colours(),
        "top-1 accuracy (%)",
        bar_limits(grid, _TICK),
        spread_errors("error bar", options.spread, "images"),
        [
            "zero-shot CLIP",
            common.ours_note(line.labels["model"] for line in models),
            f"the paper's figure has no {METHODS[LAMBDA].label}" * added,
            *_chosen_by(panels.values(), models),
        ],
    )
    return draw_bars(grid, look)


def _chosen_by(panels: Iterable[Sequence[Way]], models: Sequence[Line]) -> Iterator[str]:
    """Name the loss, or the distance, by which methods weigh views, for each protocol."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for line, ways in product(models, panels):
        protocol = line.labels["protocol"]
        for (name, _), number, _ in _bars(line, ways):
            method = METHODS[name]
            option = "loss" if method.needs_loss else "distance" * method.needs_reference
            if number and option:
                value = default("clip", protocol, name, option)
                found.setdefault((protocol, f"{option} {value}"), {})[method.label] = None
    for (protocol, choice), names in found.items():
        yield f"{choice.replace('_', ' ')} in protocol {protocol}: {', '.join(names)}"
