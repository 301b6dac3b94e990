"""Draw one number per seed as dots beside their mean and its interval: panels in a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from report.cells import Interval
from report.plots.panels import draw_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Places beside the middle of a method's column, which is one wide.
_MEAN, _SEEDS, _JITTER = 0.16, -0.17, 0.06


class Dots(NamedTuple):
    """What is drawn of one method: a value per seed, their mean and its interval, if any."""

    values: Sequence[float]
    mean: float
    interval: Interval | None


class DotPanel(NamedTuple):
    """One pair of axes."""

    title: str
    dots: Mapping[str, Dots]


def draw_dots(
    grid: Sequence[Sequence[DotPanel | None]], colours: Mapping[str, str], y_label: str
) -> Drawing:
    """Panels in rows, with a column for each method that one of them has."""
    used = {method for row in grid for panel in row if panel for method in panel.dots}
    shown = {method: colour for method, colour in colours.items() if method in used}
    return draw_grid(grid, lambda axes, panel: _draw_panel(axes, panel, shown), y_label)


def _draw_panel(axes: Axes, panel: DotPanel, colours: Mapping[str, str]) -> None:
    for column, (method, colour) in enumerate(colours.items()):
        if method in panel.dots:
            _draw_column(axes, column, panel.dots[method], colour)
    # A long name would run into its neighbour's.
    labels = [method.replace("_", "_\n") for method in colours]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(panel.title)


def _draw_column(axes: Axes, column: int, dots: Dots, colour: str) -> None:
    values = sorted(dots.values)
    # Neighbours in height are apart in width: five places in turn.
    places = [column + _SEEDS + _JITTER * (2 * rank % 5 - 2) for rank in range(len(values))]
    axes.scatter(places, values, s=12, color=colour, alpha=0.4, linewidths=0)
    low, high = dots.interval or (dots.mean, dots.mean)
    axes.errorbar(
        column + _MEAN,
        dots.mean,
        # Rounding may put the mean of equal values a little beside them.
        yerr=[[max(dots.mean - low, 0.0)], [max(high - dots.mean, 0.0)]],
        fmt="o",
        markersize=5,
        capsize=3,
        color=colour,
    )
