"""Draw curves over iterations: panels in a grid, lines of means, bands of their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from scripts._cells import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# From the palette of Okabe and Ito, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
# Lengths of dashes and gaps are in line widths.
LineStyle = Literal["solid"] | tuple[float, tuple[float, ...]]
SOLID: LineStyle = "solid"
DASHED: LineStyle = (0, (4.5, 1.6))
DOTTED: LineStyle = (0, (1, 1.3))


class Curve(NamedTuple):
    """One line.

    Attributes:
        colour: Label of its colour in the legend.
        style: Label of its line style in the legend.
        points: Iteration to the number there, in order.
    """

    colour: str
    style: str
    points: Mapping[int, Summary]


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        title: What it shows.
        curves: Its lines.
    """

    title: str
    curves: Sequence[Curve]


class Look(NamedTuple):
    """How the curves of a figure look.

    Attributes:
        colours: Label to colour, in the order of the legend.
        styles: Label to line style, in the order of the legend.
        x_label: What is below each column, with its unit.
        y_label: What is left of each row, with its unit.
        y_limits: Lowest and highest value; bands are cut there.
    """

    colours: Mapping[str, str]
    styles: Mapping[str, LineStyle]
    x_label: str
    y_label: str
    y_limits: tuple[float, float]


def draw_curves(grid: Sequence[Sequence[Panel]], look: Look) -> Drawing:
    """Draw panels in rows, with one legend of colours and styles below them.

    Args:
        grid: Rows of panels, at least one panel in each; rows may differ in length.
        look: Colours, styles and labels.

    Returns:
        The drawing, without a window.
    """
    from matplotlib.figure import Figure as Drawing

    width = max(len(row) for row in grid)
    # Inches; one narrow column would cut the legend.
    size = (max(5.0, 0.6 + 3.4 * width), 0.7 + 2.7 * len(grid))
    drawing = Drawing(figsize=size, layout="constrained")
    axes = drawing.subplots(len(grid), width, squeeze=False)
    for places, panels in zip(axes, grid, strict=True):
        for place, panel in zip(places, panels, strict=False):
            _draw_panel(place, panel, look)
        for place in places[len(panels) :]:
            place.remove()
        places[0].set_ylabel(look.y_label)
    _add_legend(drawing, grid, look)
    return drawing


def _draw_panel(axes: Axes, panel: Panel, look: Look) -> None:
    for curve in panel.curves:
        colour = look.colours[curve.colour]
        points = curve.points.values()
        x, means = [*curve.points], [point.mean for point in points]
        below = [point.mean - (point.spread or 0.0) for point in points]
        above = [point.mean + (point.spread or 0.0) for point in points]
        axes.fill_between(x, below, above, color=colour, alpha=0.14, linewidth=0)
        # A line of one point would not be seen.
        marker = "o" if len(x) == 1 else ""
        axes.plot(x, means, color=colour, linestyle=look.styles[curve.style], marker=marker)
    low, high = look.y_limits
    margin = 0.02 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.margins(x=0.02)
    axes.set_title(panel.title)
    axes.set_xlabel(look.x_label)


def _add_legend(drawing: Drawing, grid: Sequence[Sequence[Panel]], look: Look) -> None:
    from matplotlib.lines import Line2D

    curves = [curve for row in grid for panel in row for curve in panel.curves]
    used = {curve.colour for curve in curves} | {curve.style for curve in curves}
    colours = [
        Line2D([], [], color=colour, linewidth=3, label=label)
        for label, colour in look.colours.items()
        if label in used
    ]
    styles = [
        Line2D([], [], color="0.2", linestyle=style, label=label)
        for label, style in look.styles.items()
        if label in used
    ]
    # A legend is filled column by column: colours make its first row, styles its second.
    columns = max(len(colours), len(styles))
    blank = Line2D([], [], color="none", label=" ")
    filled = [[*row, *[blank] * (columns - len(row))] for row in (colours, styles)]
    handles = [handle for pair in zip(*filled, strict=True) for handle in pair]
    drawing.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)
