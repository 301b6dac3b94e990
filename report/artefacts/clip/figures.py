"""The CLIP task: Figures 4, 7 and 8, accuracy without training on transformed images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, METHODS, PAPERS, PRETRAINED, own_group
from report.artefacts.clip.common import (
    ACCURACY,
    COLOURS,
    FLIP_NOTE,
    IMAGES_NOTE,
    INTERVAL_NOTE,
    LAMBDA,
    MODELS,
    OURS_NOTE,
    SOURCE_NOTE,
    Preset,
    apart,
    arguments,
    expected_models,
    format_papers,
    in_order,
    in_own_group,
    label,
    of_data,
    protocols,
    reported_cells,
    reported_rows,
    result_rows,
)
from report.captions import commands
from report.cells import (
    EN_DASH,
    MISSING,
    NUMBER_HEADERS,
    Measure,
    format_measure,
    measure,
    number_cells,
    span,
)
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.bars import BarLook, BarPanel, draw_bars
from report.plots.panels import PURPLE, VERMILION, Mark
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# Transforms in the order of columns, and how a table names them.
TRANSFORMS = {"none": "upright", "rot180": "rot180", "rot90": "rot90"}
_METRICS = (ACCURACY, f"{ACCURACY}_low", f"{ACCURACY}_high")
UNITS = "Top-1 accuracy in percent, mean (spread) [interval] over n seeds"
BEYOND_NOTE = f"{LAMBDA} stands in no such figure of the paper; it is shown where it has rows"
BARS_NOTE = (
    "error bars: one spread to each side, and for a single seed the interval; diamonds: the number "
    "of the same bar in the paper"
)
_TICK = 10
_HEADERS = (
    *("scale", "protocol", "dataset", "model", "group", "method", "transform"),
    *NUMBER_HEADERS,
)


class Way(NamedTuple):
    """A method, and the transform of the images."""

    method: str
    transform: str

    @property
    def group(self) -> str:
        """The group, as rows name it."""
        return own_group(self.method, self.transform)

    @property
    def label(self) -> str:
        """Its name in a legend: one for the same number in every panel."""
        if not METHODS[self.method].uses_group:
            return f"{self.method}, {TRANSFORMS[self.transform]}"
        return f"{self.method} (ours)" if self.method == LAMBDA else self.method


_DROPS = tuple(Way(PRETRAINED, transform) for transform in TRANSFORMS)
BAR_COLOURS = {
    **dict(
        zip((way.label for way in _DROPS), (PURPLE, VERMILION, COLOURS[PRETRAINED]), strict=True)
    ),
    **{
        Way(method, "rot90").label: COLOURS[method]
        for method in PAPERS
        if METHODS[method].uses_group
    },
}


def _compared(transform: str, *methods: str) -> tuple[Way, ...]:
    return tuple(Way(method, transform) for method in (PRETRAINED, EQUITUNE, EQUIZERO, *methods))


class Study(NamedTuple):
    """One of the figures.

    Attributes:
        panels: Title of a panel to its bars.
    """

    title: str
    preset: Preset
    papers: tuple[str, ...]
    panels: Mapping[str, Sequence[Way]]

    @property
    def ways(self) -> list[Way]:
        """The bars of all panels, each once."""
        return [*dict.fromkeys(way for ways in self.panels.values() for way in ways)]

    @property
    def transforms(self) -> list[str]:
        """The transforms of all panels."""
        return [name for name in TRANSFORMS if name in {way.transform for way in self.ways}]


STUDIES = {
    "figure4": Study(
        "Figure 4: zero-shot CLIP on transformed ImageNet-V2",
        Preset(MODELS, "imagenet_v2"),
        ("figure4a", "figure4b", "figure4c"),
        {"a: pretrained": _DROPS, "b: rot90": _compared("rot90"), "c: rot180": _compared("rot180")},
    ),
    "figure7": Study(
        "Figure 7: zero-shot pretrained CLIP on transformed CIFAR-100",
        Preset(MODELS),
        ("figure7",),
        {PRETRAINED: _DROPS},
    ),
    "figure8": Study(
        "Figure 8: zero-shot CLIP on transformed CIFAR-100",
        Preset(MODELS),
        ("figure8a", "figure8b"),
        {"a: rot90": _compared("rot90", LAMBDA), "b: rot180": _compared("rot180", LAMBDA)},
    ),
}


class Arm(NamedTuple):
    """One model, evaluated in one protocol; bars without rows are absent.

    Attributes:
        paper: What the paper reports; nothing for other data sets than its own.
    """

    scale: str
    protocol: str
    dataset: str
    model: str
    bars: Mapping[Way, Measure]
    paper: Mapping[Way, float]

    @property
    def place(self) -> tuple[str, str, str]:
        """What it shares with the other models beside it."""
        return (self.scale, self.protocol, self.dataset)


def _shown_rows(study: Study, results: Results, options: Options) -> pd.DataFrame:
    """Our rows of the figure's data set and bars, in the protocols as they are."""
    rows = result_rows(results, options, trained=False)
    rows = select(of_data(rows, study.preset), departure="", step="", view="", metric=_METRICS)
    ways = {tuple(way) for way in study.ways}
    shown = [way in ways for way in zip(rows["method"], rows["transform"], strict=True)]
    return rows[in_own_group(rows) & pd.Series(shown, rows.index, dtype=bool)]


def _papers(study: Study, results: Results) -> dict[str, dict[Way, float]]:
    """Find the paper's numbers: model to bar to value."""
    found: dict[str, dict[Way, float]] = {}
    rows = select(reported_rows(results, study.papers), metric=ACCURACY)
    columns = (rows[name] for name in ("model", "method", "transform", "value"))
    for model, method, transform, value in zip(*columns, strict=True):
        found.setdefault(model, {})[Way(method, transform)] = float(value)
    return found


def _arms(
    study: Study, rows: pd.DataFrame, paper: Mapping[str, Mapping[Way, float]], options: Options
) -> Iterator[Arm]:
    """Arms by scale, protocol and model: those with rows, and of the preset those without."""
    for scale in options.scales:
        inside = select(rows, scale=scale)
        for protocol in protocols(inside):
            part = select(inside, protocol=protocol)
            expected = expected_models(study.preset, scale, protocol)
            for model in in_order({*expected, *part["model"]}):
                reported = paper.get(model, {}) if scale == "paper" else {}
                bars = _bars(study, select(part, model=model), options)
                yield Arm(scale, protocol, study.preset.data(scale), model, bars, reported)


def _bars(study: Study, rows: pd.DataFrame, options: Options) -> dict[Way, Measure]:
    found = (
        (way, measure(select(rows, method=way.method, transform=way.transform), ACCURACY, options))
        for way in study.ways
    )
    return {way: number for way, number in found if number is not None}


def zero_shot_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 4, 7 or 8: accuracy of each model on transformed images.

    There is a row of panels per scale and protocol with rows, and bars are grouped by model;
    without rows of ours there is no picture.
    """
    study = STUDIES[name]
    rows = _shown_rows(study, results, options)
    arms = [*_arms(study, rows, _papers(study, results), options)]
    return Figure(
        digest=_digest(name, arms, rows, options),
        headers=_HEADERS,
        rows=tuple(line for arm in arms for line in _number_lines(arm)),
        draw=lambda: _draw(study, arms, options),
    )


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    """All numbers drawn: ours, and beside each the paper's."""
    for way, number in arm.bars.items():
        names = (arm.dataset, arm.model, way.group, *way)
        yield (*arm.place[:2], *names, *number_cells(number))
        if way in arm.paper:
            yield ("paper", "reported", *names, *reported_cells(arm.paper[way]))


def _digest(name: str, arms: Sequence[Arm], rows: pd.DataFrame, options: Options) -> Table:
    study = STUDIES[name]
    blocks, incomplete = [], []
    for place in dict.fromkeys(arm.place for arm in arms):
        inside = [arm for arm in arms if arm.place == place]
        lines = {arm.model: [*_lines(study, arm)] for arm in inside}
        names = ("scale", "protocol", "dataset")
        block = Block(
            dict(zip(names, place, strict=True)),
            tuple(line for own in lines.values() for line in own),
        )
        blocks.append(block)
        lacking = [model for model, own in lines.items() if any(MISSING in line for line in own)]
        incomplete += [arguments(study.preset, *place, models) for models in apart(lacking)]
    headers = tuple(TRANSFORMS[transform] for transform in study.transforms)
    further = (FLIP_NOTE, IMAGES_NOTE, INTERVAL_NOTE, BARS_NOTE, SOURCE_NOTE, OURS_NOTE)
    beyond = (BEYOND_NOTE,) * any(way.method == LAMBDA for way in study.ways)
    return Table(
        name=name,
        title=study.title,
        stub=("model", "method"),
        groups=(ColumnGroup("ours", (*headers, "n")), ColumnGroup("paper reports", headers)),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, UNITS), *further, *beyond),
        commands=commands(name, map(" ".join, incomplete)),
    )


def _lines(study: Study, arm: Arm) -> Iterator[tuple[str, ...]]:
    """Make the lines of a model, one per method; what no panel has is a dash."""
    for method in PAPERS:
        ways = [Way(method, transform) for transform in study.transforms]
        found = [arm.bars.get(way) for way in ways]
        wanted = [way in study.ways for way in ways]
        if not any(wanted) or (method == LAMBDA and not any(found)):
            continue
        shown = [number for number, own in zip(found, wanted, strict=True) if own]
        yield (
            *(arm.model, method),
            *(
                format_measure(number) if own else EN_DASH
                for number, own in zip(found, wanted, strict=True)
            ),
            span(number.summary.seeds if number else 0 for number in shown),
            *(
                format_papers(arm.paper.get(way)) if own else EN_DASH
                for way, own in zip(ways, wanted, strict=True)
            ),
        )


def _draw(study: Study, arms: Sequence[Arm], options: Options) -> Drawing:
    drawn = [arm for arm in arms if arm.bars]
    grid = []
    for place in dict.fromkeys(arm.place for arm in drawn):
        inside = [arm for arm in drawn if arm.place == place]
        grid.append([_panel(title, ways, inside, options) for title, ways in study.panels.items()])
    tops = [
        top
        for arm in drawn
        for way, number in arm.bars.items()
        for top in (number.ends.high, arm.paper.get(way, 0.0))
    ]
    limits = (0.0, float(_TICK * math.ceil(max(tops) / _TICK)))
    # In one row the labels would be wider than the panels.
    columns = min(len(study.panels) + 1, 3)
    look = BarLook(BAR_COLOURS, "top-1 accuracy (%)", limits, columns=columns)
    return draw_bars(grid, look)


def _panel(
    title: str, ways: Sequence[Way], arms: Sequence[Arm], options: Options
) -> BarPanel | None:
    groups = {
        label(arm.model): {
            way.label: Mark(number.summary.mean, *number.ends, arm.paper.get(way))
            for way in ways
            if (number := arm.bars.get(way)) is not None
        }
        for arm in arms
    }
    shown = {name: bars for name, bars in groups.items() if bars}
    title = f"{title}, {arms[0].dataset}\nprotocol {arms[0].protocol}"
    scale = f", scale {arms[0].scale}" if len(options.scales) > 1 else ""
    return BarPanel(title + scale, shown) if shown else None
