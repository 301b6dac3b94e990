"""The CLIP task: Figures 4, 7 and 8, accuracy without training on transformed images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from experiments.frame.methods import PAPERS
from report.artefacts.clip.bars import (
    BAR_COLOURS,
    STUDIES,
    TRANSFORMS,
    Arm,
    Study,
    Way,
    find_arms,
    shown_rows,
)
from report.artefacts.clip.common import (
    FLIP_NOTE,
    IMAGES_NOTE,
    INTERVAL_NOTE,
    LAMBDA,
    OURS_NOTE,
    SOURCE_NOTE,
    format_papers,
    label,
    reported_cells,
)
from report.artefacts.clip.presets import apart, arguments
from report.captions import commands
from report.cells import EN_DASH, MISSING, span
from report.comparison import notes
from report.figures import Figure
from report.measures import NUMBER_HEADERS, format_measure, number_cells
from report.options import Options
from report.plots.bars import Bar, BarLook, BarPanel, draw_bars
from report.results import Results
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

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


def zero_shot_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 4, 7 or 8: accuracy of each model on transformed images.

    There is a row of panels per scale and protocol with rows, and bars are grouped by model;
    without rows of ours there is no picture.
    """
    study = STUDIES[name]
    rows = shown_rows(study, results, options)
    arms = find_arms(study, rows, results, options)
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
            way.label: Bar(number.summary.mean, *number.ends, arm.paper.get(way))
            for way in ways
            if (number := arm.bars.get(way)) is not None
        }
        for arm in arms
    }
    shown = {name: bars for name, bars in groups.items() if bars}
    title = f"{title}, {arms[0].dataset}\nprotocol {arms[0].protocol}"
    scale = f", scale {arms[0].scale}" if len(options.scales) > 1 else ""
    return BarPanel(title + scale, shown) if shown else None
