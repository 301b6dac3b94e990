"""Deep Q-learning: Figure 2, the return of each method."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.frame.methods import EQUITUNE, EQUIZERO, PRETRAINED
from report.artefacts.dqn.common import (
    COLOURS,
    HEADERS,
    IDENTITY_NOTE,
    LINE_NOTES,
    ORDER_NOTE,
    PAPERS_METHODS,
    REGIME_NOTE,
    RETURNS,
    STEP_NOTE,
    Arm,
    difference_line,
    find_arms,
    make_grid,
    missing_commands,
    order_line,
    panel_title,
    result_rows,
    shown_methods,
    shown_rows,
    value_line,
)
from report.cells import summarise
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.dots import DotPanel, Dots, draw_dots
from report.results import Results
from report.statistics import bootstrap_interval
from report.tables import Block, ColumnGroup, Table

# First method minus second.
DIFFERENCES = ((EQUITUNE, PRETRAINED), (EQUIZERO, EQUITUNE), (EQUIZERO, PRETRAINED))
_NOTES = (
    *(ORDER_NOTE, REGIME_NOTE, STEP_NOTE, IDENTITY_NOTE),
    "the paper prints Figure 2 as a picture without numbers, so none stand beside ours",
)
_NUMBERS = ("scale", "regime", "dataset", "step", "method", "seed", "return", "low", "high", "n")


def figure2(results: Results, options: Options) -> Figure:
    """Figure 2: the return of each method after the paper's budget of training steps.

    There is one row of panels per scale and regime with rows, and one column per environment.
    """
    rows = result_rows(results, options)
    arms = find_arms(rows, options)
    blocks = [Block(arm.shown_labels, tuple(_lines(arm, options))) for arm in arms]
    digest = Table(
        name="figure2",
        title="Figure 2: return of deep Q-learning's networks under each method",
        stub=("method",),
        groups=(ColumnGroup("", HEADERS),),
        blocks=tuple(blocks),
        notes=(*notes(shown_rows(rows, arms), blocks, options, RETURNS), *LINE_NOTES, *_NOTES),
        commands=missing_commands("figure2", arms, PAPERS_METHODS),
    )
    return Figure(
        digest=digest,
        headers=_NUMBERS,
        rows=tuple(line for arm in arms for line in _number_lines(arm)),
        draw=lambda: draw_dots(
            make_grid(arms, lambda arm: _dot_panel(arm, options)), COLOURS, "return"
        ),
    )


def _lines(arm: Arm, options: Options) -> Iterator[tuple[str, ...]]:
    methods = {method: arm.last(method) for method in shown_methods(arm)}
    for method, values in methods.items():
        yield value_line(method, values, arm.dataset, options)
    for pair in DIFFERENCES:
        yield difference_line(methods, *pair, arm.dataset, options)
    yield order_line(methods, arm.dataset)


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    """All numbers drawn: each seed's own, and in a line without a seed their mean."""
    for method in shown_methods(arm):
        values = arm.last(method)
        names = (*arm.shown_labels.values(), method)
        for seed, value in values.items():
            yield (*names, seed, repr(value), "", "", "")
        summary = summarise([*values.values()])
        if summary is not None:
            ends = map(repr, bootstrap_interval(values.values()) or ())
            low, high = tuple(ends) or ("", "")
            yield (*names, "", repr(summary.mean), low, high, str(summary.seeds))


def _dot_panel(arm: Arm, options: Options) -> DotPanel | None:
    dots = {}
    for method in shown_methods(arm):
        values = [*arm.last(method).values()]
        summary = summarise(values)
        if summary is not None:
            dots[method] = Dots(values, summary.mean, bootstrap_interval(values))
    title = panel_title(arm, options, f"{(arm.step or 0) / 1000:g}k steps")
    return DotPanel(title, dots) if dots else None
