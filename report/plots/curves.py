"""Draw curves over iterations: panels in a grid, lines of means, bands around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from experiments.frame.methods import METHODS
from report.cells import Number
from report.plots.panels import Mark, arrange, draw_grid, spread_mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Lengths of dashes and gaps are in line widths.
LineStyle = Literal["solid"] | tuple[float, tuple[float, ...]]
SOLID: LineStyle = "solid"
DASHED: LineStyle = (0, (4.5, 1.6))
DOTTED: LineStyle = (0, (1, 1.3))


class Curve(NamedTuple):
    """One line: labels of colour and style in the legend, and points by place on the x axis."""

    colour: str
    style: str
    points: Mapping[float, Mark]


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    curves: Sequence[Curve]


class Look(NamedTuple):
    """How the curves of a figure look.

    Attributes:
        styles: Label to line style, in the order of the legend. With the labels of the colours,
            the legend has each label once, in its colour and style.
        y_limits: Lowest and highest value; bands are cut there. None: each panel's own.
        baseline: Height of a thin line across each panel; None for no line.
        columns: Of the legend; None: as many as it has colours or styles.
    """

    colours: Mapping[str, str]
    styles: Mapping[str, LineStyle]
    x_label: str
    y_label: str
    y_limits: tuple[float, float] | None = None
    baseline: float | None = None
    columns: int | None = None


Key = tuple[str, ...]
#: Key of a panel, to key of a curve, to its points.
Curves = Mapping[Key, Mapping[Key, Mapping[int, Number]]]


def method_labels(curve: Key) -> tuple[str, str]:
    """The labels of a curve whose key is a method: its own, of colour and style."""
    label = METHODS[curve[0]].label
    return label, label


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
    labels: Callable[[Key], tuple[str, str]],
    column: int,
    mark: Callable[[Number], Mark] = spread_mark,
    unit: int = 1,
) -> list[list[Panel | None]]:
    """Panels of curves, arranged as by `arrange`.

    Args:
        curves: All curves; a panel without any is left out.
        title: From the key of a panel.
        labels: From the key of a curve to its labels of colour and style.
        column: Which part of a panel's key stands in columns.
        mark: How a number is drawn.
        unit: Of the x axis: places are divided by it.
    """
    panels = {
        panel: Panel(
            title(panel),
            [
                Curve(*labels(curve), {place / unit: mark(each) for place, each in points.items()})
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
    """Panels in rows, with one legend of colours and styles below them."""
    drawing = draw_grid(grid, lambda axes, panel: _draw_panel(axes, panel, look), look.y_label)
    _add_legend(drawing, grid, look)
    return drawing


def _draw_panel(axes: Axes, panel: Panel, look: Look) -> None:
    if look.baseline is not None:
        axes.axhline(look.baseline, color="0.5", linewidth=0.8)
    for curve in panel.curves:
        colour = look.colours[curve.colour]
        x, points = [*curve.points], curve.points.values()
        below, above = [point.low for point in points], [point.high for point in points]
        axes.fill_between(x, below, above, color=colour, alpha=0.14, linewidth=0)
        # A line of one point would not be seen.
        marker = "o" if len(x) == 1 else ""
        heights = [point.value for point in points]
        axes.plot(x, heights, color=colour, linestyle=look.styles[curve.style], marker=marker)
    if look.y_limits is not None:
        low, high = look.y_limits
        margin = 0.02 * (high - low)
        axes.set_ylim(low - margin, high + margin)
    axes.margins(x=0.02)
    axes.set_title(panel.title)
    axes.set_xlabel(look.x_label)


def _add_legend(drawing: Drawing, grid: Sequence[Sequence[Panel | None]], look: Look) -> None:
    from matplotlib.lines import Line2D

    curves = [curve for row in grid for panel in row if panel for curve in panel.curves]
    used = {curve.colour for curve in curves} | {curve.style for curve in curves}
    together = look.colours.keys() == look.styles.keys()
    colours = [
        Line2D([], [], color=colour, linestyle=look.styles[label], label=label)
        if together
        else Line2D([], [], color=colour, linewidth=3, label=label)
        for label, colour in look.colours.items()
        if label in used
    ]
    styles = [
        Line2D([], [], color="0.2", linestyle=style, label=label)
        for label, style in look.styles.items()
        if label in used and not together
    ]
    # A legend is filled column by column: colours make its first row, styles its second.
    columns = max(len(colours), len(styles))
    blank = Line2D([], [], color="none", label=" ")
    rows = [row for row in (colours, styles) if row]
    filled = [[*row, *[blank] * (columns - len(row))] for row in rows]
    handles = [handle for pair in zip(*filled, strict=True) for handle in pair]
    drawing.legend(
        handles=handles, loc="outside lower center", ncols=look.columns or columns, handlelength=2.6
    )
