"""Panels in a grid: sizes, empty places, labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# From the palette of Okabe and Ito, which people with any colour vision can tell apart.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
SKY_BLUE, YELLOW = "#56B4E9", "#F0E442"

PanelT = TypeVar("PanelT")


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
