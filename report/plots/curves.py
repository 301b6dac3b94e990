"""Draw curves over iterations: panels in a grid, lines of means, bands around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal, NamedTuple

from experiments.frame.methods import METHODS
from report.cells import Number
from report.plots.panels import (
    Errors,
    Mark,
    add_legend,
    arrange,
    draw_grid,
    seeds_note,
    spread_mark,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Lengths of dashes and gaps are in line widths.
LineStyle = Literal["solid"] | tuple[float, tuple[float, ...]]
LONG: LineStyle = (0, (9, 2))
SPARSE: LineStyle = (0, (1, 3))
# Of the methods in the order of their registry, in turn.
_STYLES: tuple[LineStyle, ...] = (
    *((0, (6, 1.5, 1, 1.5)), "solid", (0, (4.5, 1.6)), (0, (1, 1.3))),
    *((0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 1.5, 3, 1.5)), (0, (2, 1))),
)


class LineLook(NamedTuple):
    """How a line looks."""

    colour: str
    style: LineStyle


class Curve(NamedTuple):
    """One line: its label in the legend, and its points by their place on the x axis."""

    label: str
    points: Mapping[float, Mark]


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    curves: Sequence[Curve]


class Look(NamedTuple):
    """How the curves of a figure look.

    Attributes:
        lines: Label to the look of its line, in the order of the legend.
        errors: What the bands are.
        notes: What else the legend says.
        y_limits: Lowest and highest value; bands are cut there. None: each panel's own.
        baseline: Height of a thin line across each panel; None for no line.
    """

    lines: Mapping[str, LineLook]
    x_label: str
    y_label: str
    errors: Errors
    notes: Sequence[str] = ()
    y_limits: tuple[float, float] | None = None
    baseline: float | None = None


Key = tuple[str, ...]
#: Key of a panel, to key of a curve, to its points.
Curves = Mapping[Key, Mapping[Key, Mapping[int, Number]]]


def method_lines() -> dict[str, LineLook]:
    """Label of each method to the look of its line, the same in all figures."""
    looks = zip(METHODS.values(), cycle(_STYLES), strict=False)
    return {method.label: LineLook(method.colour, style) for method, style in looks}


def method_label(curve: Key) -> str:
    """The label of a curve whose key is a method."""
    return METHODS[curve[0]].label


def curve_rows(curves: Curves) -> Iterator[tuple[str, ...]]:
    """All numbers of the curves as text: both keys, place, mean, spread, number of seeds."""
    for panel, own in curves.items():
        for curve, points in own.items():
            for place, number in points.items():
                spread = "" if number.spread is None else repr(number.spread)
                yield (*panel, *curve, str(place), repr(number.mean), spread, str(number.seeds))


def curve_grid(
    curves: Curves,
    title: Callable[[Key], str],
    label: Callable[[Key], str],
    column: int,
    mark: Callable[[Number], Mark] = spread_mark,
    unit: int = 1,
) -> list[list[Panel | None]]:
    """Panels of curves, arranged as by `arrange`.

    Args:
        curves: All curves; a panel without any is left out.
        title: From the key of a panel.
        label: From the key of a curve.
        column: Which part of a panel's key stands in columns.
        mark: How a number is drawn.
        unit: Of the x axis: places are divided by it.
    """
    panels = {
        panel: Panel(
            title(panel),
            [
                Curve(label(curve), {place / unit: mark(each) for place, each in points.items()})
                for curve, points in own.items()
            ],
        )
        if own
        else None
        for panel, own in curves.items()
    }
    return arrange(panels, column)


def common_limits(grid: Sequence[Sequence[Panel | None]], tick: int) -> tuple[float, float]:
    """Lowest and highest value of one axis for all panels, multiples of `tick`.

    The grid has one point at least.
    """
    panels = [panel for row in grid for panel in row if panel]
    bands = [band for p in panels for curve in p.curves for band in curve.points.values()]
    low, high = min(band.low for band in bands), max(band.high for band in bands)
    return tick * math.floor(low / tick), tick * math.ceil(high / tick)


def draw_curves(grid: Sequence[Sequence[Panel | None]], look: Look) -> Drawing:
    """Panels in rows, with one legend below them, which says where their x axes end."""
    from matplotlib.lines import Line2D

    drawing = draw_grid(grid, lambda axes, panel: _draw_panel(axes, panel, look), look.y_label)
    panels = [panel for row in grid for panel in row if panel]
    curves = [curve for panel in panels for curve in panel.curves]
    used = {curve.label for curve in curves}
    handles = [
        Line2D([], [], color=line.colour, linestyle=line.style, label=label)
        for label, line in look.lines.items()
        if label in used
    ]
    seeds = (mark.seeds for curve in curves for mark in curve.points.values())
    notes = (seeds_note(seeds, look.errors), _ends_note(panels, look.x_label), *look.notes)
    add_legend(drawing, handles, notes)
    return drawing


def _ends_note(panels: Sequence[Panel], x_label: str) -> str:
    """Where the panels end, if they differ: a reader would compare their right edges."""
    ends = {max(place for curve in panel.curves for place in curve.points) for panel in panels}
    if len(ends) == 1:
        return ""
    return f"panels end at different {x_label}: {', '.join(f'{end:g}' for end in sorted(ends))}"


def _draw_panel(axes: Axes, panel: Panel, look: Look) -> None:
    if look.baseline is not None:
        axes.axhline(look.baseline, color="0.5", linewidth=0.8)
    # Bands lie on each other: the more there are, the lighter they are.
    alpha = 0.42 / max(3, len(panel.curves))
    for curve in panel.curves:
        line = look.lines[curve.label]
        x, points = [*curve.points], curve.points.values()
        below, above = [point.low for point in points], [point.high for point in points]
        axes.fill_between(x, below, above, color=line.colour, alpha=alpha, linewidth=0)
        # A line of one point would not be seen.
        marker = "o" if len(x) == 1 else ""
        heights = [point.value for point in points]
        axes.plot(x, heights, color=line.colour, linestyle=line.style, marker=marker)
    if look.y_limits is not None:
        low, high = look.y_limits
        margin = 0.02 * (high - low)
        axes.set_ylim(low - margin, high + margin)
    axes.margins(x=0.02)
    axes.set_title(panel.title)
    axes.set_xlabel(look.x_label)
