"""Draw stacked bars side by side: shares of a whole, with error bars at both of their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from report.cells import MISSING, Interval
from report.plots.panels import Errors, add_legend, draw_grid, seeds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_WHOLE = 100.0
# Of bars that are one apart: their width, and what is between groups, and beside those set aside.
_WIDTH, _GAP, _ASIDE = 0.86, 0.9, 0.5
# Where the two error bars of a bar are, so that they do not cover each other.
_BESIDE = 0.14
_SMALL = 7.5
_INCHES = (8.0, 3.2)
_ERROR: dict[str, Any] = {"fmt": "none", "ecolor": "0.1", "elinewidth": 0.9, "capsize": 1.5}


class Stack(NamedTuple):
    """One bar: shares in percent by label, from bottom to top.

    `first` and `last` are the ends of the error bars of the first and the last part, in percent.
    The shares are means over `seeds`.
    """

    parts: Mapping[str, float]
    first: Interval
    last: Interval
    seeds: int


class StackPanel(NamedTuple):
    """One pair of axes.

    Attributes:
        sections: Side by side with a line between them: name above a group to its bars, by the
            names below them; a group may be empty.
    """

    title: str
    sections: Sequence[Mapping[str, Mapping[str, Stack]]]


def draw_stacks(
    grid: Sequence[Sequence[StackPanel | None]],
    colours: Mapping[str, str],
    y_label: str,
    errors: Errors,
) -> Drawing:
    """Panels in rows, with one legend of the parts that are seen below them."""
    from matplotlib.patches import Patch

    drawing = draw_grid(
        grid, lambda axes, panel: _draw_panel(axes, panel, colours), y_label, _INCHES
    )
    panels = [panel for row in grid for panel in row if panel]
    groups = [bars for panel in panels for groups in panel.sections for bars in groups.values()]
    stacks = [stack for bars in groups for stack in bars.values()]
    seen = [name for name in colours if any(stack.parts[name] for stack in stacks)]
    note = seeds_note((stack.seeds for stack in stacks), errors)
    add_legend(drawing, [Patch(color=colours[name], label=name) for name in seen], [note])
    return drawing


def _draw_panel(axes: Axes, panel: StackPanel, colours: Mapping[str, str]) -> None:
    start, ticks = 0.0, {}
    for number, groups in enumerate(panel.sections):
        if number:
            axes.axvline(start + (_ASIDE - _GAP - 1) / 2, color="0.5", linewidth=0.8)
            start += _ASIDE
        for name, bars in groups.items():
            # An empty group has the room of two bars.
            last = start + (len(bars) or 2) - 1
            for slot, (label, bar) in enumerate(bars.items()):
                _draw_stack(axes, start + slot, bar, colours)
                ticks[start + slot] = label
            middle = (start + last) / 2
            if not bars:
                axes.text(middle, _WHOLE / 2, MISSING, **_text("center"), rotation=90, color="0.4")
            axes.text(middle, _WHOLE + 3, name, **_text("baseline"))
            start = last + 1 + _GAP
    axes.set_xticks([*ticks], [*ticks.values()], rotation=90, fontsize=_SMALL)
    axes.set_xlim(-0.9, start - _GAP - 0.1)
    axes.set_ylim(0, _WHOLE)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    # Above the names of the groups, of which some have two lines.
    lines = max(name.count("\n") for groups in panel.sections for name in groups)
    axes.set_title(panel.title, pad=16 + 9 * lines)


def _text(vertical: str) -> dict[str, Any]:
    return {"horizontalalignment": "center", "verticalalignment": vertical, "fontsize": _SMALL}


def _draw_stack(axes: Axes, place: float, bar: Stack, colours: Mapping[str, str]) -> None:
    bottom = 0.0
    for label, share in bar.parts.items():
        axes.bar(place, share, _WIDTH, bottom=bottom, color=colours[label])
        bottom += share
    shares = [*bar.parts.values()]
    _draw_error(axes, place - _BESIDE, shares[0], bar.first)
    last = Interval(_WHOLE - bar.last.high, _WHOLE - bar.last.low)
    _draw_error(axes, place + _BESIDE, _WHOLE - shares[-1], last)


def _draw_error(axes: Axes, place: float, height: float, ends: Interval) -> None:
    # Rounding may put the mean of equal values a little beside them.
    lengths = [[max(height - ends.low, 0.0)], [max(ends.high - height, 0.0)]]
    axes.errorbar(place, height, yerr=lengths, **_ERROR)
