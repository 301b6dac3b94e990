"""The CNN task: Figures 5b and 11b, accuracy against epochs of probing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from itertools import product

import pandas as pd

from experiments.frame.methods import (
    EQUITUNE,
    EQUIZERO,
    LAMBDA_EQUITUNE,
    METHODS,
    PRETRAINED,
)
from experiments.frame.rows import PROTOCOLS
from report.aggregate import Labels, Numbers
from report.artefacts.cnn.tables import (
    ACCURACY,
    IMAGES,
    IMAGES_NOTE,
    LOSS_NOTE,
    LOSS_ORDER,
    result_rows,
    short_loss,
    wanted,
)
from report.cells import EN_DASH, format_papers
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.curves import (
    LONG,
    SPARSE,
    Key,
    LineLook,
    Look,
    common_limits,
    curve_grid,
    curve_rows,
    draw_curves,
    method_lines,
)
from report.plots.panels import PURPLE, VERMILION, Errors, reported_mark, spread_errors
from report.plots.words import plain, plain_protocol
from report.presets import axes
from report.results import SELECTED, Results, select, step_numbers, with_iterations
from report.spec import UNITS, Column, Line, Spec, seeds_along, selected_step, shown

TITLES = {"figure5b": "Figure 5b: ResNet", "figure11b": "Figure 11b: AlexNet"}
# The preset's network first, then that of torchvision.
MODELS = {
    name: (*axes(name)["model"], other)
    for name, other in (("figure5b", "ResNet18"), ("figure11b", "AlexNet"))
}
DATASETS = {"paper": axes("figure5b")["dataset"][0], "demo": "symbols"}
# What the paper's figures print beside their equizero curves, and what these are.
PRINTED = {"entropy": "reversed_max_probability", "max_probability": "entropy"}
_PANEL, _CURVE = ("scale", "protocol", "model"), ("method", "loss")
_NOTES = (
    "every image is evaluated in all four turns",
    *(IMAGES_NOTE, LOSS_NOTE),
    "the curves end with the paper's, after ten epochs; augmented, which learns from one view of "
    "an image and not four, is trained for forty",
    "epoch: passes over the training images that were done; the paper counts its epochs 1 to 10 "
    "from 0 to 9",
    "selected: at the epoch that a run reports; protocol paper: the best on held-out training "
    "images; protocol reference: the best on the images that the accuracy is of",
    "band: mean \N{PLUS-MINUS SIGN} spread",
    f"n: seeds, least{EN_DASH}most where the columns differ",
    "how many training images the last layers learned from: facts.images in the record of a run's "
    "probe, which facts.probed_by names",
)
_PAPERS_NOTES = (
    'the two equizero labels of the paper\'s figure are swapped: its curve "entropy" is max '
    'probability reversed and stands beside ours of that name; its curve "max probability" is '
    "the entropy with the right sign and stands beside our entropy; max probability with the "
    "right sign was never run",
    "the paper's curves: in the authors' code of images of the training split{}, on a backbone "
    "with ImageNet weights",
)
# AlexNet has none.
_BATCH_NORM = {"figure5b": ", after probing with batch statistics in the batch norms"}


def probing_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 5b or 11b: accuracy on turned images, mean and spread over seeds.

    There is one panel per scale, protocol and network with rows, and one of the paper's curves;
    without rows of ours there is no picture.
    """
    numbers, reported = _numbers(name, results, options), _reported(name, results)
    spec = _spec(name, reported)
    # Where no network has rows, the preset's is missing.
    blocks = [
        {"scale": scale, "protocol": protocol, "model": model, "dataset": DATASETS[scale]}
        for scale, protocol, model in product(options.scales, PROTOCOLS, MODELS[name])
        if {"model": model}
        in (numbers.labels("model", scale=scale, protocol=protocol) or [{"model": MODELS[name][0]}])
    ]
    lines = [
        {**block, **way, "metric": ACCURACY}
        for block in blocks
        for way in spec.sorted([*wanted(name), *numbers.labels(*_CURVE, **block)])
    ]
    papers = Numbers(reported, (*_PANEL, *_CURVE, "iteration"))
    last = max(reported["iteration"], default=math.inf)
    curves = {
        panel: {
            way: {epoch: each for epoch, each in points.items() if epoch <= last}
            for way, points in own.items()
        }
        for panel, own in numbers.panels(lines, _PANEL, _CURVE, "iteration").items()
    }
    reported_lines = papers.labels(*_PANEL, *_CURVE)
    paper = papers.panels(reported_lines, _PANEL, _CURVE, "iteration")
    rows = tuple(curve_rows(curves))

    def title(panel: Key) -> str:
        scale, protocol, model = panel
        if protocol not in PROTOCOLS:
            return f"the paper's {plain(model)}, read off its picture\ntraining images"
        further = f", scale {scale}" if len(options.scales) > 1 else ""
        return f"{model}, {IMAGES[protocol]}{further}\n{plain_protocol(protocol)}"

    def draw() -> Drawing:
        grid = curve_grid(curves, title, _label, column=1)
        ordered = papers.panels(spec.sorted(reported_lines), _PANEL, _CURVE, "iteration")
        for row in curve_grid(ordered, title, _label, column=1, mark=reported_mark):
            grid[0] += row
        ways = spec.sorted({name: line[name] for name in _CURVE} for line in lines)
        errors = spread_errors("band", options.spread)
        return draw_curves(grid, _look(ways, common_limits(grid, tick=5), errors))

    return Figure(
        digest=spec.build(numbers, options, lines, reported),
        headers=(*_PANEL, *_CURVE, "epoch", "mean", "spread", "n"),
        rows=(*rows, *((*row[:-1], "") for row in curve_rows(paper) if rows)),
        draw=draw,
    )


def _spec(name: str, reported: pd.DataFrame) -> Spec:
    """The digest, beside the paper's numbers."""
    errors = sorted({float(text) for text in reported["read_error"] if text})
    within = f", to within {errors[-1]:g} points" if errors else ""
    return Spec(
        name=name,
        title=f"{TITLES[name]}, accuracy on turned images against epochs of probing",
        block=_PANEL,
        stub=_CURVE,
        columns={
            "ours": (
                *(shown(f"epoch {n}", iteration=n) for n in (1, 5, 10)),
                shown("selected", **SELECTED),
                *(selected_step("which epoch", "selected_epoch"), seeds_along(SELECTED)),
            ),
            "paper reports": tuple(
                Column(f"epoch {n}", partial(_papers, str(n - 1))) for n in (1, 10)
            ),
        },
        units=UNITS,
        orders={
            "method": (LAMBDA_EQUITUNE, EQUITUNE, EQUIZERO, PRETRAINED, *METHODS),
            "loss": LOSS_ORDER,
        },
        texts={"loss": short_loss},
        notes=(
            *_NOTES,
            f"the paper's numbers: read off its picture{within}, without its spread",
            *(text.format(_BATCH_NORM.get(name, "")) for text in _PAPERS_NOTES),
        ),
        words=("protocol", "scale", "dataset", "model"),
    )


def _numbers(name: str, results: Results, options: Options) -> Numbers:
    rows = select(
        result_rows(results, options, trained=True),
        departure="",
        transform="rot90",
        view="",
        model=MODELS[name],
        metric=(ACCURACY, "selected_epoch"),
    )
    rows = rows[rows["dataset"] == rows["scale"].map(DATASETS)]
    by = (*_PANEL, "dataset", *_CURVE, "metric", "iteration")
    return Numbers(with_iterations(rows, ACCURACY), by, options.spread)


def _reported(name: str, results: Results) -> pd.DataFrame:
    """The paper's curves, for what they are; its epochs count from zero."""
    rows = select(results.reported, artefact=name, metric=ACCURACY)
    loss = rows["variant"].map(PRINTED).where(rows["method"] == EQUIZERO, "")
    return rows.assign(loss=loss, iteration=step_numbers(rows) + 1)


def _papers(step: str, line: Line) -> str:
    own = {name: line.labels[name] for name in _CURVE}
    return format_papers(line.paper(**own, step=step))


def _label(way: Key) -> str:
    method, loss = way
    return METHODS[method].label + (f" ({loss.replace('_', ' ')})" if loss else "")


def _look(ways: Iterable[Labels], limits: tuple[float, float], errors: Errors) -> Look:
    # Of equizero's losses the first has the method's look.
    own = {
        (EQUIZERO, "entropy"): LineLook(VERMILION, LONG),
        (EQUIZERO, "reversed_max_probability"): LineLook(PURPLE, SPARSE),
    }
    known = method_lines()
    keys = [(way["method"], way["loss"]) for way in ways]
    return Look(
        {_label(key): own.get(key, known[METHODS[key[0]].label]) for key in keys},
        "epochs of probing",
        "accuracy (%)",
        errors,
        [
            "in brackets: by which loss equizero chooses a view; reversed max probability takes "
            "the least confident view, as the authors' code does",
            "the paper's two equizero curves have their swapped labels corrected",
        ],
        limits,
    )
