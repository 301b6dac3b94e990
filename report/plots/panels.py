"""Panels in a grid: sizes, empty places, labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from report.cells import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# From the palette of Okabe and Ito, which people with any colour vision can tell apart.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
SKY_BLUE, YELLOW = "#56B4E9", "#F0E442"

PanelT = TypeVar("PanelT")


class Mark(NamedTuple):
    """A number in a picture, with the ends of its error bar or band, and the paper's, if any."""

    value: float
    low: float
    high: float
    reported: float | None = None


def spread_mark(number: Number) -> Mark:
    """A mark of one spread to each side; without a spread it has no width."""
    spread = number.spread or 0.0
    return Mark(number.mean, number.mean - spread, number.mean + spread)


def end_mark(number: Number, reported: float | None = None) -> Mark:
    """A mark with the ends of a number's error bar, and the paper's number, if any."""
    return Mark(number.mean, *number.ends, reported)


def plain_mark(value: float) -> Mark:
    """A mark without width."""
    return Mark(value, value, value)


def arrange(
    panels: Mapping[tuple[str, ...], PanelT | None], column: int
) -> list[list[PanelT | None]]:
    """Panels in a grid: those that agree in one part of their keys stand below each other.

    None is nothing to draw: rows and columns of None alone are left out.
    """
    filled = [key for key, panel in panels.items() if panel is not None]
    used = {key[column] for key in filled}
    columns = [name for name in dict.fromkeys(key[column] for key in panels) if name in used]
    rows = dict.fromkeys((key[:column], key[column + 1 :]) for key in filled)
    return [[panels.get((*head, name, *tail)) for name in columns] for head, tail in rows]


def draw_grid(
    grid: Sequence[Sequence[PanelT | None]],
    draw: Callable[[Axes, PanelT], None],
    y_label: str,
    panel: tuple[float, float] = (3.4, 2.7),
) -> Drawing:
    """Panels in rows, each drawn by `draw` and of the size `panel` in inches.

    None leaves a place empty, and rows may differ in length; each has one panel at least.
    """
    from matplotlib.figure import Figure as Drawing

    width = max(len(row) for row in grid)
    # Inches; one narrow column would cut the legend.
    size = (max(5.0, 0.6 + panel[0] * width), 0.7 + panel[1] * len(grid))
    drawing = Drawing(figsize=size, layout="constrained")
    axes = drawing.subplots(len(grid), width, squeeze=False)
    for places, panels in zip(axes, grid, strict=True):
        label = y_label
        for place, shown in zip(places, [*panels, *[None] * (width - len(panels))], strict=True):
            if shown is None:
                place.remove()
                continue
            draw(place, shown)
            place.set_ylabel(label)
            label = ""
    return drawing
