"""The CNN task: Figures 5b and 11b, accuracy against epochs of probing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from experiments.frame.methods import EQUIZERO
from experiments.frame.rows import PROTOCOLS
from report.artefacts.cnn.common import (
    ACCURACY,
    COLOURS,
    DATASETS,
    ENTROPY,
    IMAGES,
    REVERSED,
    STUDIES,
    STYLES,
    WAYS,
    Arm,
    Way,
    of_way,
    result_rows,
)
from report.artefacts.cnn.tables import probing_digest
from report.cells import Summary, over_seeds
from report.figures import Figure
from report.options import Options
from report.plots.curves import Curve, Look, Panel, common_limits, draw_curves
from report.plots.panels import plain_mark, spread_mark
from report.results import Results, select, step_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# What the paper's figures print beside their equizero curves, and what these are.
PRINTED = {"entropy": REVERSED, "max_probability": ENTROPY}
# Points of accuracy; the axis begins and ends at a multiple.
_TICK = 5
_LEGEND_COLUMNS = 3
_HEADERS = ("scale", "protocol", "model", "method", "loss", "epoch", "mean", "spread", "n")

# Method to epoch to accuracy.
Points = Mapping[Way, Mapping[int, float]]


def probing_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 5b or 11b: accuracy on turned images, mean and spread over seeds.

    There is one panel per scale, protocol and network with rows, and one of the paper's curves;
    without rows of ours there is no picture.
    """
    rows = select(
        result_rows(results, options, trained=True),
        departure="",
        transform="rot90",
        view="",
        model=STUDIES[name].models,
        metric=(ACCURACY, "selected_epoch"),
    )
    rows = rows[rows["dataset"] == rows["scale"].map(DATASETS)]
    reported = select(results.reported, artefact=name, metric=ACCURACY)
    arms, paper = [*_arms(name, rows, options)], _papers_curves(reported)
    lines = [line for arm in arms for line in _number_lines(arm)]
    if lines:
        lines += _papers_lines(name, paper)
    return Figure(
        digest=probing_digest(name, arms, paper, rows, reported, options),
        headers=_HEADERS,
        rows=tuple(lines),
        draw=lambda: _draw(name, arms, paper, options),
    )


def _arms(name: str, rows: pd.DataFrame, options: Options) -> Iterator[Arm]:
    """Find the networks with rows; where there is none, the preset's is missing."""
    models = STUDIES[name].models
    for scale in options.scales:
        for protocol in PROTOCOLS:
            inside = select(rows, scale=scale, protocol=protocol)
            found = set(inside["model"]) or models[:1]
            for model in [each for each in models if each in found]:
                yield _arm((scale, protocol, model), select(inside, model=model), options)


def _arm(key: tuple[str, str, str], rows: pd.DataFrame, options: Options) -> Arm:
    accuracies, chosen = select(rows, metric=ACCURACY), select(rows, metric="selected_epoch")
    ends = accuracies["step"] == ""
    during = accuracies[~ends]
    during = during.assign(epoch=step_numbers(during))
    curves: dict[Way, dict[int, Summary]] = {}
    selected: dict[Way, Summary] = {}
    for way in WAYS:
        for epoch, cell in of_way(during, way).groupby("epoch"):
            summary = over_seeds(cell, options.spread)
            assert summary is not None
            curves.setdefault(way, {})[epoch] = summary
        summary = over_seeds(of_way(accuracies[ends], way), options.spread)
        if summary is not None:
            selected[way] = summary
    epochs = {way: sorted(map(int, of_way(chosen, way)["value"])) for way in WAYS}
    return Arm(*key, curves, selected, epochs)


def _papers_curves(reported: pd.DataFrame) -> Points:
    """Take the paper's curves for what they are; its epochs count from zero."""
    curves: dict[Way, dict[int, float]] = {}
    columns = (reported[name] for name in ("method", "variant", "step", "value"))
    for method, printed, step, value in zip(*columns, strict=True):
        way = PRINTED[printed] if method == EQUIZERO else Way(method)
        curves.setdefault(way, {})[int(step) + 1] = float(value)
    return curves


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    for way, points in arm.curves.items():
        for epoch, (mean, spread, seeds, _) in points.items():
            width = "" if spread is None else repr(spread)
            names = (arm.scale, arm.protocol, arm.model, *way)
            yield (*names, str(epoch), repr(mean), width, str(seeds))


def _papers_lines(name: str, paper: Points) -> Iterator[tuple[str, ...]]:
    for way, points in paper.items():
        for epoch, value in points.items():
            names = ("paper", "reported", STUDIES[name].papers_model, *way)
            yield (*names, str(epoch), repr(value), "", "")


def _draw(name: str, arms: Sequence[Arm], paper: Points, options: Options) -> Drawing:
    drawn = [arm for arm in arms if arm.curves]
    panels = {(arm.scale, arm.model, arm.protocol): _panel(arm, options) for arm in drawn}
    columns = [name for name in PROTOCOLS if name in {arm.protocol for arm in drawn}]
    places = dict.fromkeys((arm.scale, arm.model) for arm in drawn)
    rows = [[panels.get((*place, protocol)) for protocol in columns] for place in places]
    if paper:
        rows[0].append(_papers_panel(name, paper))
    # In one row the labels would be wider than the panels.
    look = Look(
        COLOURS,
        STYLES,
        "epochs of probing",
        "accuracy (%)",
        common_limits(rows, _TICK),
        columns=_LEGEND_COLUMNS,
    )
    return draw_curves(rows, look)


def _panel(arm: Arm, options: Options) -> Panel:
    scale = f", scale {arm.scale}" if len(options.scales) > 1 else ""
    curves = [
        Curve(way.label, way.label, {epoch: spread_mark(point) for epoch, point in points.items()})
        for way, points in arm.curves.items()
    ]
    title = f"{arm.model}, protocol {arm.protocol}\n{IMAGES[arm.protocol]}{scale}"
    return Panel(title, curves)


def _papers_panel(name: str, paper: Points) -> Panel:
    curves = [
        Curve(way.label, way.label, {epoch: plain_mark(value) for epoch, value in points})
        for way, points in ((way, paper[way].items()) for way in WAYS if way in paper)
    ]
    title = f"the paper's {STUDIES[name].papers_model}\ntraining images, labels put right"
    return Panel(title, curves)
