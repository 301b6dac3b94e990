"""The CLIP task: Figures 5a and 11a, accuracy against steps of fine-tuning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from experiments.frame.rows import PROTOCOLS
from report.artefacts.clip.common import (
    COLOURS,
    IMAGES_NOTE,
    OURS,
    OURS_NOTE,
    SOURCE_NOTE,
    format_papers,
    label,
)
from report.artefacts.clip.presets import apart, arguments
from report.artefacts.clip.tuned import (
    DIVERGED,
    STUDIES,
    TUNED,
    Arm,
    Points,
    Study,
    find_arms,
    papers_curves,
    shown_rows,
)
from report.captions import commands
from report.cells import EN_DASH, MISSING, format_summary, span
from report.comparison import notes
from report.figures import Figure
from report.options import Options
from report.plots.curves import (
    SOLID,
    Band,
    Curve,
    Look,
    Panel,
    common_limits,
    draw_curves,
    spread_band,
)
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

UNITS = "Top-1 accuracy in percent, mean (spread) over n seeds"
_HEADERS = ("start", "end", "after", "selected", "which step", "n")
_NUMBERS = ("scale", "protocol", "model", "variant", "method", "step", "mean", "spread", "n")
# Points of accuracy; the axis begins and ends at a multiple.
_TICK = 5
# Of a panel's title, in characters.
_WIDTH = 44
_NOTES = (
    "images are transformed by rot90, for learning and for evaluation",
    *(IMAGES_NOTE, SOURCE_NOTE),
    "start: before the first step; end: after as many steps as the column after says; selected: at "
    "the step that a run reports, the best on held-out training images in protocol paper",
    "band: mean \N{PLUS-MINUS SIGN} spread",
    f"n: seeds, least{EN_DASH}most where the columns differ",
    "variant: another recipe of fine-tuning than the protocol's, in panels of its own",
)


def training_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 5a or 11a: accuracy on turned images, mean and spread over seeds.

    There is one panel per scale, protocol, model and recipe with rows, and one of the paper's
    curves per model of the paper; without rows of ours there is no picture.
    """
    study = STUDIES[name]
    rows = shown_rows(study, results, options)
    arms, paper = find_arms(study, rows, options), papers_curves(name, results)
    lines = [line for arm in arms for line in _number_lines(arm)]
    if lines:
        lines += _papers_lines(paper)
    return Figure(
        digest=_digest(name, arms, paper, rows, options),
        headers=_NUMBERS,
        rows=tuple(lines),
        draw=lambda: _draw(study, arms, paper, options),
    )


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    for method, points in arm.curves.items():
        for step, (mean, spread, seeds) in points.items():
            width = "" if spread is None else repr(spread)
            yield (*arm[:4], method, str(step), repr(mean), width, str(seeds))


def _papers_lines(paper: Mapping[str, Points]) -> Iterator[tuple[str, ...]]:
    for model, curves in paper.items():
        for method, points in curves.items():
            for step, value in points.items():
                names = ("paper", "reported", model, "", method)
                yield (*names, str(step), repr(value), "", "")


def _digest(
    name: str,
    arms: Sequence[Arm],
    paper: Mapping[str, Points],
    rows: pd.DataFrame,
    options: Options,
) -> Table:
    study = STUDIES[name]
    blocks: list[Block] = []
    lacking: dict[tuple[str, str, str], list[str]] = {}
    for arm in arms:
        # The paper's numbers are of its own data set.
        own = paper.get(arm.model, {}) if arm.scale == "paper" else {}
        lines = tuple(_line(arm, method, own.get(method, {})) for method in TUNED)
        blocks.append(Block(arm.labels, lines))
        if any(MISSING in line for line in lines):
            lacking.setdefault((arm.scale, arm.protocol, arm.recipe), []).append(arm.model)
    incomplete = [
        _words(study, *key, models) for key, found in lacking.items() for models in apart(found)
    ]
    ours = (OURS_NOTE,) * (OURS in study.models)
    ends = sorted(
        {step for curves in paper.values() for points in curves.values() for step in points}
    )
    named = (f"step {ends[0]}", f"step {ends[-1]}") if ends else ("first step", "last step")
    return Table(
        name=name,
        title=f"{study.title}, accuracy on turned images against steps of fine-tuning",
        stub=("method",),
        groups=(
            ColumnGroup("ours", _HEADERS),
            ColumnGroup("paper reports", named),
        ),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, UNITS), *_NOTES, *ours, *_diverged(rows)),
        commands=commands(name, incomplete),
    )


def _line(arm: Arm, method: str, paper: Mapping[int, float]) -> tuple[str, ...]:
    points, chosen = arm.curves.get(method, {}), arm.selected.get(method)
    last = max(points, default=None)
    found = [*points.values(), *([chosen] if chosen else [])]
    return (
        method,
        format_summary(points.get(0)),
        MISSING if last is None else format_summary(points[last]),
        MISSING if last is None else str(last),
        format_summary(chosen),
        span(arm.steps[method]) or MISSING,
        span(summary.seeds for summary in found) or "0",
        *(
            format_papers(paper.get(step))
            for step in (min(paper, default=0), max(paper, default=0))
        ),
    )


def _words(study: Study, scale: str, protocol: str, recipe: str, models: Sequence[str]) -> str:
    """Write what a command has beside the preset."""
    words = arguments(study.preset, scale, protocol, study.preset.data(scale), models)
    return " ".join([*words, *(f"task.{part}" for part in recipe.split(", ") if part)])


def _diverged(rows: pd.DataFrame) -> Iterator[str]:
    """Say which trainings ended early."""
    columns = ("model", "method", "protocol", "scale", "seed", "value")
    ended = sorted(
        f"{model} {method} (protocol {protocol}, scale {scale}, seed {seed}) in step {step:g}"
        for model, method, protocol, scale, seed, step in zip(
            *(select(rows, metric=DIVERGED)[name] for name in columns), strict=True
        )
    )
    if ended:
        yield f"the training diverged, and the curve ends before: {', '.join(ended)}"


def _draw(
    study: Study, arms: Sequence[Arm], paper: Mapping[str, Points], options: Options
) -> Drawing:
    drawn = [arm for arm in arms if arm.curves]
    panels = {
        (arm.scale, arm.model, arm.recipe, arm.protocol): _panel(study, arm, options)
        for arm in drawn
    }
    columns = [name for name in PROTOCOLS if name in {arm.protocol for arm in drawn}]
    places = [*dict.fromkeys((arm.scale, arm.model, arm.recipe) for arm in drawn)]
    rows = [[panels.get((*place, protocol)) for protocol in columns] for place in places]
    # The paper's curves stand beside the first panels of their model, and else in the first row.
    beside = [model for _, model, _ in places]
    for model, curves in paper.items():
        row = rows[beside.index(model) if model in beside else 0]
        row.append(_papers_panel(f"the paper's {model}\n{study.preset.dataset}", curves))
    look = Look(
        {method: COLOURS[method] for method in TUNED},
        dict.fromkeys(TUNED, SOLID),
        "steps of fine-tuning",
        "top-1 accuracy (%)",
        common_limits(rows, _TICK),
    )
    return draw_curves(rows, look)


def _panel(study: Study, arm: Arm, options: Options) -> Panel:
    scale = f", scale {arm.scale}" if len(options.scales) > 1 else ""
    curves = [
        Curve(method, method, {step: spread_band(point) for step, point in points.items()})
        for method, points in arm.curves.items()
    ]
    name = label(arm.model).replace("\n", " ")
    lines = [f"{name}, {study.preset.data(arm.scale)}", f"protocol {arm.protocol}{scale}"]
    return Panel("\n".join(lines + textwrap.wrap(arm.recipe, _WIDTH)), curves)


def _papers_panel(title: str, curves: Points) -> Panel:
    found = [
        Curve(method, method, {step: Band(value, value, value) for step, value in points})
        for method, points in ((name, curves[name].items()) for name in TUNED if name in curves)
    ]
    return Panel(title, found)
