"""Draw one number per seed as dots beside their mean and its interval: panels in a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from report.cells import Interval
from report.plots.panels import Errors, add_legend, draw_grid, seeds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Places beside the middle of a method's column, which is one wide.
_MEAN, _SEEDS, _JITTER = 0.28, -0.15, 0.07
# Of a column, what dots side by side may take.
_ROOM = 0.56
# Dots that are nearer in height stand side by side: a share of the axis.
_NEAR = 0.025
# The least height of an axis, as a share of its largest value: small differences look small.
_LEAST = 0.05


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
    grid: Sequence[Sequence[DotPanel | None]],
    colours: Mapping[str, str],
    y_label: str,
    errors: Errors,
    notes: Sequence[str] = (),
) -> Drawing:
    """Panels in rows, with a column for each method that has dots there, and notes below."""
    panels = [panel for row in grid for panel in row if panel]
    drawing = draw_grid(grid, lambda axes, panel: _draw_panel(axes, panel, colours), y_label)
    counts = [len(dots.values) for panel in panels for dots in panel.dots.values()]
    further = ["small dots: single seeds"]
    further += ["in brackets: seeds"] * any(len(_counts(panel)) > 1 for panel in panels)
    further += [
        f"y axes do not begin at zero, and span at least {100 * _LEAST:g} % of their values"
    ]
    add_legend(drawing, [], (seeds_note(counts, errors), *further, *notes))
    return drawing


def _counts(panel: DotPanel) -> set[int]:
    return {len(dots.values) for dots in panel.dots.values()}


def _draw_panel(axes: Axes, panel: DotPanel, colours: Mapping[str, str]) -> None:
    values = [value for dots in panel.dots.values() for value in dots.values]
    low, high = _limits(values)
    axes.set_ylim(low, high)
    labels = []
    for column, method in enumerate(name for name in colours if name in panel.dots):
        _draw_column(axes, column, panel.dots[method], colours[method])
        count = f" ({len(panel.dots[method].values)})" if len(_counts(panel)) > 1 else ""
        # A long name would run into its neighbour's.
        labels.append(method.replace("_", "_\n") + count)
    crowded = len(labels) > 4  # names side by side would overlap
    turn: dict[str, Any] = {"rotation": 30, "ha": "right"} if crowded else {}
    axes.set_xticks(range(len(labels)), labels, **turn)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(panel.title)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis, with a margin around all values."""
    low, high = min(values), max(values)
    # Equal values need a height too, zeros among them.
    least = _LEAST * max(abs(low), abs(high)) or 1.0
    margin = max(0.05 * (high - low), (least - (high - low)) / 2)
    return low - margin, high + margin


def _swarm(values: Sequence[float], near: float) -> Iterator[float]:
    """Yield the places of sorted values beside the middle: those near each other are apart."""
    groups: list[list[float]] = []
    for value in values:
        if not groups or value - groups[-1][0] > near:
            groups.append([])
        groups[-1].append(value)
    for group in groups:
        step = min(_JITTER, _ROOM / max(len(group) - 1, 1))
        yield from (step * (rank - (len(group) - 1) / 2) for rank in range(len(group)))


def _draw_column(axes: Axes, column: int, dots: Dots, colour: str) -> None:
    values = sorted(dots.values)
    low, high = axes.get_ylim()
    places = [column + _SEEDS + beside for beside in _swarm(values, _NEAR * (high - low))]
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
