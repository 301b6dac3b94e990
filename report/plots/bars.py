"""Draw grouped bars: panels in a grid, error bars, the paper's number of a bar as a marker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from report.plots.panels import Errors, Mark, add_legend, arrange, draw_grid, seeds_note

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from numpy.typing import NDArray

    #: Red, green, blue from 0 to 255, [h, w, 3].
    Picture = NDArray[np.uint8]

# Of the one unit that a group has on the x axis, what its bars take.
_FILLED = 0.8
# What pictures add to the height of a panel.
_PICTURES = 0.25
_MARKER: dict[str, Any] = {
    **{"linestyle": "none", "marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.1"},
}


class BarPanel(NamedTuple):
    """One pair of axes.

    Attributes:
        groups: Name below a group to its bars, by their labels in the legend.
        pictures: Small pictures at the top of bars.
    """

    title: str
    groups: Mapping[str, Mapping[str, Mark]]
    pictures: Mapping[str, Mapping[str, Picture]] = {}


class BarLook(NamedTuple):
    """How the bars of a figure look.

    Attributes:
        colours: Label to colour, in the order of the bars and of the legend.
        errors: What the error bars are.
        notes: What else the legend says.
        marker: The name of the paper's numbers in the legend.
        baseline: Height of a thin line across each panel; None for no line.
    """

    colours: Mapping[str, str]
    y_label: str
    y_limits: tuple[float, float]
    errors: Errors
    notes: Sequence[str] = ()
    marker: str = "the paper's number"
    baseline: float | None = None


#: Key of a panel, to name of a group, to label of a bar, to the bar.
Bars = dict[tuple[str, ...], dict[str, dict[str, Mark]]]


def bar_grid(
    bars: Bars,
    title: Callable[[tuple[str, ...]], str],
    column: int,
    pictures: Mapping[tuple[str, ...], Mapping[str, Mapping[str, Picture]]] = MappingProxyType({}),
) -> list[list[BarPanel | None]]:
    """Panels of bars, arranged as by `arrange`.

    Args:
        bars: All bars; a group without any is left out, and a panel without a group.
        title: From the key of a panel.
        column: Which part of a panel's key stands in columns.
        pictures: Of bars, by the same keys.
    """
    panels: dict[tuple[str, ...], BarPanel | None] = {}
    for key, groups in bars.items():
        filled = {name: own for name, own in groups.items() if own}
        panel = BarPanel(title(key), filled, pictures.get(key, {}))
        panels[key] = panel if filled else None
    return arrange(panels, column)


def bar_limits(grid: Sequence[Sequence[BarPanel | None]], tick: int) -> tuple[float, float]:
    """Zero, and the least multiple of `tick` above all error bars and numbers of the paper.

    The grid has one bar at least.
    """
    groups = [bars for row in grid for panel in row if panel for bars in _all_bars(panel)]
    tops = [
        top for bars in groups for bar in bars.values() for top in (bar.high, bar.reported or 0)
    ]
    return 0.0, float(tick * math.ceil(max(tops) / tick))


def draw_bars(grid: Sequence[Sequence[BarPanel | None]], look: BarLook) -> Drawing:
    """Panels in rows, with one legend below them."""
    drawing = draw_grid(grid, lambda axes, panel: _draw_panel(axes, panel, look), look.y_label)
    panels = [panel for row in grid for panel in row if panel]
    marks = (bar for panel in panels for bars in _all_bars(panel) for bar in bars.values())
    note = seeds_note((bar.seeds for bar in marks), look.errors)
    add_legend(drawing, _handles(panels, look), (note, *look.notes))
    return drawing


def _draw_panel(axes: Axes, panel: BarPanel, look: BarLook) -> None:
    labels = [label for label in look.colours if any(label in bars for bars in _all_bars(panel))]
    width = _FILLED / len(labels)
    if look.baseline is not None:
        axes.axhline(look.baseline, color="0.5", linewidth=0.8, zorder=3)
    for place, (name, bars) in enumerate(panel.groups.items()):
        pictures = panel.pictures.get(name, {})
        for slot, label in enumerate(labels):
            if label in bars:
                middle = place + width * (slot - (len(labels) - 1) / 2)
                _draw_bar(axes, middle, width, bars[label], look.colours[label])
            if label in pictures:
                _draw_picture(axes, middle, width, pictures[label])
    count = len(panel.groups)
    axes.set_xticks(range(count), [*panel.groups])
    axes.set_xlim(-0.5, count - 0.5)
    low, high = look.y_limits
    axes.set_ylim(low, high)
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    # Pictures stand above the highest bar.
    above = _PICTURES * (high - low) if panel.pictures else 0.0
    axes.set_ylim(low, high + above)
    axes.set_yticks(ticks)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_title(panel.title)


def _all_bars(panel: BarPanel) -> Sequence[Mapping[str, Mark]]:
    return [*panel.groups.values()]


def _draw_bar(axes: Axes, middle: float, width: float, bar: Mark, colour: str) -> None:
    axes.bar(middle, bar.value, 0.92 * width, color=colour)
    if (bar.low, bar.high) != (bar.value, bar.value):
        # Rounding may put the mean of equal values a little beside them.
        ends = [[max(bar.value - bar.low, 0.0)], [max(bar.high - bar.value, 0.0)]]
        # In a grey that is seen on every colour and on white.
        axes.errorbar(middle, bar.value, yerr=ends, fmt="none", ecolor="0.55", capsize=2)
    if bar.reported is not None:
        axes.plot(middle, bar.reported, markersize=4, zorder=4, **_MARKER)


def _draw_picture(axes: Axes, middle: float, width: float, picture: Picture) -> None:
    """Draw a picture as broad as a bar, below the upper edge of the panel."""
    # In shares of the panel's height; the picture keeps its shape.
    size = _PICTURES / (1 + _PICTURES)
    bounds = (middle - 0.46 * width, 1 - size, 0.92 * width, 0.95 * size)
    place = axes.inset_axes(bounds, transform=axes.get_xaxis_transform())
    place.imshow(picture)
    place.set_axis_off()


def _handles(panels: Sequence[BarPanel], look: BarLook) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = [bars for panel in panels for bars in _all_bars(panel)]
    used = {label for bars in groups for label in bars}
    handles: list[Artist] = [
        Patch(color=colour, label=label) for label, colour in look.colours.items() if label in used
    ]
    if any(bar.reported is not None for bars in groups for bar in bars.values()):
        handles.append(Line2D([], [], markersize=5, label=look.marker, **_MARKER))
    return handles
