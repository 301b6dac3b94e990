"""The CLIP task: Figures 5a and 11a, accuracy against steps of fine-tuning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from experiments.frame.methods import METHODS, PAPERS
from experiments.frame.rows import PROTOCOLS
from report.artefacts.clip.common import (
    ACCURACY,
    COLOURS,
    IMAGES_NOTE,
    MODELS,
    OURS,
    OURS_NOTE,
    SOURCE_NOTE,
    Preset,
    apart,
    arguments,
    expected_models,
    format_papers,
    in_order,
    label,
    of_data,
    protocols,
    reported_rows,
    result_rows,
)
from report.captions import commands
from report.cells import EN_DASH, MISSING, Summary, format_summary, over_seeds, span
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.curves import (
    SOLID,
    Curve,
    Look,
    Panel,
    common_limits,
    draw_curves,
)
from report.plots.panels import plain_mark, spread_mark
from report.results import Results, departing, select, step_numbers
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TUNED = tuple(method for method in PAPERS if METHODS[method].uses_group)
DIVERGED = "diverged_step"
_CHOSEN = "selected_step"
# Departures that a figure shows, in panels of their own.
_RECIPE = "finetune."
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


class Study(NamedTuple):
    """One of the two figures; `models` are shown where they have rows."""

    title: str
    preset: Preset
    models: tuple[str, ...]


STUDIES = {
    "figure5a": Study("Figure 5a: CLIP's ResNets", Preset(MODELS[:2]), (*MODELS[:2], OURS)),
    "figure11a": Study("Figure 11a: CLIP's vision transformers", Preset(MODELS[2:]), MODELS[2:]),
}

# Method to step to accuracy.
Points = Mapping[str, Mapping[int, float]]


class Arm(NamedTuple):
    """One model, fine-tuned in one way; methods without rows are absent.

    Attributes:
        recipe: What its fine-tuning has beside the protocol's; empty for nothing.
        selected: Method to the accuracy at the steps that the runs report.
        steps: Method to these steps, one per seed, in order.
    """

    scale: str
    protocol: str
    model: str
    recipe: str
    curves: Mapping[str, Mapping[int, Summary]]
    selected: Mapping[str, Summary]
    steps: Mapping[str, Sequence[int]]

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its block in a table."""
        names = ("scale", "protocol", "model", "variant")
        return dict(zip(names, (*self[:3], self.recipe or "none"), strict=True))


def _shown_rows(study: Study, results: Results, options: Options) -> pd.DataFrame:
    """Our rows of the figure's models, fine-tuned as the protocol says or with another recipe."""
    rows = of_data(result_rows(results, options, trained=True), study.preset)
    rows = select(rows, model=study.models, group="rot90", method=TUNED, view="")
    known = {name for found in rows["departures"] for name in found if name.startswith(_RECIPE)}
    rows = rows[departing(rows, "training", *known) == ""]
    accurate = (rows["metric"] == ACCURACY) & (rows["transform"] == "rot90")
    return rows[accurate | rows["metric"].isin([_CHOSEN, DIVERGED])]


def _papers_curves(name: str, results: Results) -> dict[str, Points]:
    """The paper's curves: model to method to step to accuracy."""
    reported = reported_rows(results, name)
    curves: dict[str, dict[str, dict[int, float]]] = {}
    columns = (reported[name] for name in ("model", "method", "step", "value"))
    for model, method, step, value in zip(*columns, strict=True):
        curves.setdefault(model, {}).setdefault(method, {})[int(step)] = float(value)
    return {**curves}


def _arms(study: Study, rows: pd.DataFrame, options: Options) -> Iterator[Arm]:
    """Arms by scale, protocol, model and recipe: those with rows, of the preset also without."""
    for scale in options.scales:
        inside = select(rows, scale=scale)
        for protocol in protocols(inside):
            part = select(inside, protocol=protocol)
            expected = expected_models(study.preset, scale, protocol)
            for model in in_order({*expected, *part["model"]}):
                own = select(part, model=model)
                recipes = {*own["departure"], *([""] if model in expected else [])}
                for recipe in sorted(recipes):
                    key = (scale, protocol, model, recipe)
                    yield _arm(key, select(own, departure=recipe), options)


def _arm(key: tuple[str, str, str, str], rows: pd.DataFrame, options: Options) -> Arm:
    accuracies, chosen = select(rows, metric=ACCURACY), select(rows, metric=_CHOSEN)
    ends = accuracies["step"] == ""
    during = accuracies[~ends]
    during = during.assign(number=step_numbers(during))
    curves: dict[str, dict[int, Summary]] = {}
    selected: dict[str, Summary] = {}
    for method in TUNED:
        for step, cell in select(during, method=method).groupby("number"):
            summary = over_seeds(cell, options.spread)
            assert summary is not None
            curves.setdefault(method, {})[step] = summary
        summary = over_seeds(select(accuracies[ends], method=method), options.spread)
        if summary is not None:
            selected[method] = summary
    steps = {name: sorted(map(int, select(chosen, method=name)["value"])) for name in TUNED}
    return Arm(*key, curves, selected, steps)


def training_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 5a or 11a: accuracy on turned images, mean and spread over seeds.

    There is one panel per scale, protocol, model and recipe with rows, and one of the paper's
    curves per model of the paper; without rows of ours there is no picture.
    """
    study = STUDIES[name]
    rows = _shown_rows(study, results, options)
    arms, paper = [*_arms(study, rows, options)], _papers_curves(name, results)
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
        for step, (mean, spread, seeds, _) in points.items():
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
        Curve(method, method, {step: spread_mark(point) for step, point in points.items()})
        for method, points in arm.curves.items()
    ]
    name = label(arm.model).replace("\n", " ")
    lines = [f"{name}, {study.preset.data(arm.scale)}", f"protocol {arm.protocol}{scale}"]
    return Panel("\n".join(lines + textwrap.wrap(arm.recipe, _WIDTH)), curves)


def _papers_panel(title: str, curves: Points) -> Panel:
    found = [
        Curve(method, method, {step: plain_mark(value) for step, value in points})
        for method, points in ((name, curves[name].items()) for name in TUNED if name in curves)
    ]
    return Panel(title, found)
