"""CLIP: Figures 5a and 11a, accuracy against steps of fine-tuning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import pandas as pd

from experiments.frame.methods import METHODS
from report.aggregate import Numbers
from report.artefacts.clip import common
from report.artefacts.clip.common import ACCURACY, OURS
from report.cells import EN_DASH, MISSING, format_summary
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.curves import (
    Curves,
    Key,
    Look,
    common_limits,
    curve_grid,
    curve_rows,
    draw_curves,
    method_label,
    method_lines,
)
from report.plots.panels import reported_mark, spread_errors
from report.plots.words import plain, plain_options
from report.presets import axes
from report.results import SELECTED, Results, departing, select, step_numbers, with_iterations
from report.spec import Column, Line, Spec, seeds_along, selected_step, shown

TITLES = {
    "figure5a": "Figure 5a: CLIP's ResNets",
    "figure11a": "Figure 11a: CLIP's vision transformers",
}
# Models that are shown where they have rows.
SHOWN = {"figure5a": (*axes("figure5a")["model"], OURS), "figure11a": axes("figure11a")["model"]}
DIVERGED, _CHOSEN = "diverged_step", "selected_step"
# Departures that a figure shows, in panels of their own.
_RECIPE = "finetune."
_ARM = ("scale", "protocol", "model", "variant")
_PAPERS = {"scale": "paper", "protocol": "reported", "variant": ""}
# Points of accuracy; the axis begins and ends at a multiple.
_TICK = 5
# Of a panel's title, in characters.
_WIDTH = 44
_NOTES = (
    "images are transformed by rot90, for learning and for evaluation",
    *(common.IMAGES_NOTE, common.SOURCE_NOTE),
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
    rows = _rows(name, results, options)
    numbers = Numbers(rows, (*_ARM, "method", "metric", "iteration"), options.spread)
    reported = common.reported_rows(results, name)
    reported = reported.assign(iteration=step_numbers(reported))
    known = Numbers(reported, ("model", "method", "iteration"))
    lines = [*_lines(name, numbers, options)]
    papers = [{**_PAPERS, **labels} for labels in known.labels("model", "method")]
    ordered = sorted(papers, key=lambda labels: [*METHODS].index(labels["method"]))
    ours = numbers.panels(lines, _ARM, ("method",), "iteration")
    theirs = known.panels(ordered, _ARM, ("method",), "iteration")
    drawn = [*curve_rows(ours)]
    # The paper does not tell the number of its seeds.
    told = curve_rows(known.panels(papers, _ARM, ("method",), "iteration"))
    drawn += [(*row[:-1], "") for row in told if drawn]
    steps = {*reported["iteration"]}
    spec = _spec(name, rows, [min(steps), max(steps)] if steps else [])
    return Figure(
        digest=spec.build(numbers, options, lines, reported),
        headers=(*_ARM, "method", "step", "mean", "spread", "n"),
        rows=tuple(drawn),
        draw=lambda: _draw(name, ours, theirs, options),
    )


def _rows(name: str, results: Results, options: Options) -> pd.DataFrame:
    """Our rows of the figure's models, fine-tuned as the protocol says or with another recipe."""
    rows = common.of_data(common.result_rows(results, options, trained=True), name)
    tuned = [method for method, known in METHODS.items() if known.uses_group]
    rows = select(rows, model=SHOWN[name], group="rot90", method=tuned, view="")
    rows = rows[departing(rows, "training", *_recipe_options(rows)) == ""]
    accurate = (rows["metric"] == ACCURACY) & (rows["transform"] == "rot90")
    rows = rows[accurate | rows["metric"].isin([_CHOSEN, DIVERGED])]
    return with_iterations(rows, ACCURACY).assign(variant=rows["departure"])


def _recipe_options(rows: pd.DataFrame) -> list[str]:
    names = dict.fromkeys(name for found in rows["departures"] for name in found)
    return [name for name in names if name.startswith(_RECIPE)]


def _lines(name: str, numbers: Numbers, options: Options) -> Iterator[dict[str, str]]:
    """The labels of lines: models with each recipe that has numbers, those of the preset without.

    The options of a recipe are labels too.
    """
    rows = numbers.rows
    recipes = dict(zip(rows["variant"], rows["departures"], strict=True))
    for arm in common.arms(numbers, name, options):
        own = {each: arm[each] for each in _ARM[:3]}
        made = common.made_models(name, arm["scale"], arm["protocol"])
        found: dict[str, list[str]] = {"": []} if arm["model"] in made else {}
        for each in numbers.labels("variant", "method", **own):
            found.setdefault(each["variant"], []).append(each["method"])
        for recipe, methods in sorted(found.items()):
            known = recipes.get(recipe, {}).items()
            chosen = {option.removeprefix(_RECIPE): str(value) for option, value in known}
            for method in common.methods_of(axes(name)["method"], methods):
                yield {**chosen, **arm, "variant": recipe, "method": method, "metric": ACCURACY}


def _end(line: Line) -> str:
    points = [*line.along().values()]
    return format_summary(points[-1] if points else None)


_OURS = (
    shown("start", iteration=0),
    Column("end", _end),
    Column("after", lambda line: str(max(line.along(), default=MISSING))),
    shown("selected", **SELECTED),
    selected_step("which step", _CHOSEN),
    seeds_along(SELECTED),
)


def _spec(name: str, rows: pd.DataFrame, ends: Sequence[int]) -> Spec:
    """The digest; `ends` are the first and last step that the paper reports, if any."""
    named = {f"step {end}": str(end) for end in ends} or {"first step": "", "last step": ""}
    return Spec(
        name=name,
        title=f"{TITLES[name]}, accuracy on turned images against steps of fine-tuning",
        block=_ARM,
        stub=("method",),
        columns={
            "ours": _OURS,
            "paper reports": [common.papers(title, step=step) for title, step in named.items()],
        },
        units="Top-1 accuracy in percent, mean (spread) over n seeds",
        titles={"variant": "variant"},
        notes=(*_NOTES, *([common.OURS_NOTE] if OURS in SHOWN[name] else []), *_diverged(rows)),
        words=(*common.WORDS, *(f"task.{option}" for option in _recipe_options(rows))),
        together=("scale", "protocol", "variant", "seed"),
    )


def _diverged(rows: pd.DataFrame) -> Iterator[str]:
    """Say which trainings ended early."""
    ended = sorted(
        f"{row.model} {row.method} (protocol {row.protocol}, scale {row.scale}, seed {row.seed}) "
        f"in step {row.value:g}"
        for row in select(rows, metric=DIVERGED).itertuples()
    )
    if ended:
        yield f"the training diverged, and the curve ends before: {', '.join(ended)}"


def _draw(name: str, ours: Curves, theirs: Curves, options: Options) -> Drawing:
    def title(panel: Key) -> str:
        scale, protocol, model, recipe = panel
        if protocol == "reported":
            return f"the paper's {model}, {data(scale)}"
        head = f"{common.in_picture(model)}, {data(scale)}".replace("\n", " ")
        place = common.place(scale, protocol, options)
        words = plain_options(recipe) if recipe else ""
        return "\n".join([head, place, *textwrap.wrap(words, _WIDTH)])

    def data(scale: str) -> str:
        return plain(common.dataset(name, scale))

    grid = curve_grid(ours, title, method_label, column=1)
    # The paper's curves stand beside the first panels of their model, and else in the first row.
    rows = dict.fromkeys((key[0], *key[2:]) for key, own in ours.items() if own)
    beside = [model for _, model, _ in rows]
    papers = curve_grid(theirs, title, method_label, column=1, mark=reported_mark)
    apart = [panel for key, [panel] in zip(theirs, papers, strict=True) if key[2] not in beside]
    if len(apart) == len(papers) and all(len(row) == 1 for row in grid):
        # Side by side there are no empty places.
        grid = [[panel for [panel] in grid], *([apart] if apart else [])]
    else:
        for key, [panel] in zip(theirs, papers, strict=True):
            grid[beside.index(key[2]) if key[2] in beside else 0].append(panel)
    look = Look(
        method_lines(),
        "steps of fine-tuning",
        "top-1 accuracy (%)",
        spread_errors("band", options.spread),
        [common.ours_note(beside), "the paper's curves have no spread" * bool(papers)],
        common_limits(grid, _TICK),
    )
    return draw_curves(grid, look)
