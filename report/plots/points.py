"""Draw points of cost and benefit: panels in a grid, and the staircase of the best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from report.plots.panels import Errors, Mark, add_legend, draw_grid, seeds_note

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Costs that differ by less than this factor are drawn as equal.
_EQUAL = 1.02
# The least width of a band of equal costs: in points that stand side by side, room for its label.
_NARROW = 2
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">", "*")
_FILLS = ("full", "none", "left", "right", "top", "bottom")


class Point(NamedTuple):
    """One point: its cost, and its benefit with the ends of its error bar."""

    cost: float
    mark: Mark


class PointPanel(NamedTuple):
    """One pair of axes: points by their labels."""

    title: str
    points: Mapping[str, Point]


class Style(NamedTuple):
    """How a point looks: colour, number of its marker, and of how that is filled."""

    colour: str
    marker: int = 0
    fill: int = 0


def staircase(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The best benefit so far, by cost: only points that are better than all cheaper ones."""
    steps: list[tuple[float, float]] = []
    for cost, mark in sorted(points, key=lambda point: (point.cost, -point.mark.value)):
        if not steps or mark.value > steps[-1][1]:
            steps.append((cost, mark.value))
    return steps


def draw_points(
    grid: Sequence[Sequence[PointPanel | None]],
    styles: Mapping[str, Style],
    x_label: str,
    y_label: str,
    errors: Errors,
) -> Drawing:
    """Panels in rows, with one legend below them; `styles` are in its order."""
    drawing = draw_grid(
        grid, lambda axes, panel: _draw_panel(axes, panel, styles, x_label), y_label, (3.8, 3.0)
    )
    panels = [panel for row in grid for panel in row if panel]
    used = {name for panel in panels for name in panel.points}
    handles = [_handle(name, style) for name, style in styles.items() if name in used]
    seeds = (point.mark.seeds for panel in panels for point in panel.points.values())
    notes = (
        seeds_note(seeds, errors),
        "line: the best so far; one band for each number of passes, not to scale",
    )
    add_legend(drawing, handles, notes)
    return drawing


def _draw_panel(axes: Axes, panel: PointPanel, styles: Mapping[str, Style], x_label: str) -> None:
    drawn = _rounded([point.cost for point in panel.points.values()])
    bands: dict[float, list[str]] = {}
    for name in styles:
        if name in panel.points:
            bands.setdefault(drawn[panel.points[name].cost], []).append(name)
    starts, middles, end = {}, [], 0.0
    for number, (cost, names) in enumerate(sorted(bands.items())):
        width = max(len(names), _NARROW) + 1
        starts[cost], middle = end, end + width / 2
        for rank, name in enumerate(names):
            place = middle + rank - (len(names) - 1) / 2
            _draw_point(axes, place, panel.points[name].mark, styles[name])
        if number % 2:
            axes.axvspan(end, end + width, color="0.95", zorder=0)
        middles.append(middle)
        end += width
    steps = {starts[drawn[cost]]: best for cost, best in staircase([*panel.points.values()])}
    corners = [*steps.items(), (end, [*steps.values()][-1])]
    axes.plot(*zip(*corners, strict=True), drawstyle="steps-post", color="0.6", zorder=1)
    axes.set_xlim(0, end)
    axes.set_xticks(middles, [f"{cost:.3g}" for cost in sorted(bands)])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(x_label)
    axes.set_title(panel.title)


def _rounded(costs: Sequence[float]) -> dict[float, float]:
    """Cost to the least of the costs that it is drawn with."""
    found: dict[float, float] = {}
    least = 0.0
    for cost in sorted(costs):
        least = cost if cost > least * _EQUAL else least
        found[cost] = least
    return found


def _draw_point(axes: Axes, place: float, mark: Mark, style: Style) -> None:
    # Rounding may put the mean of equal values a little beside them.
    ends = [[max(mark.value - mark.low, 0.0)], [max(mark.high - mark.value, 0.0)]]
    look = _look(style)
    axes.errorbar(place, mark.value, yerr=ends, elinewidth=0.9, capsize=1.5, zorder=3, **look)


def _look(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": _MARKERS[style.marker % len(_MARKERS)],
        "fillstyle": _FILLS[style.fill % len(_FILLS)],
        "markerfacecoloralt": "white",
        "markersize": 5,
        "markeredgewidth": 1,
        "linestyle": "none",
    }


def _handle(name: str, style: Style) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=name, **_look(style))
