"""Panels in a grid: sizes, empty places, labels, and the legend below them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from report.cells import SPREAD_WORDS, Number, span
from report.options import Spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# From the palette of Okabe and Ito, which people with any colour vision can tell apart.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
SKY_BLUE, YELLOW = "#56B4E9", "#F0E442"

# Inches: of a line of the legend, and of a picture without panels and legend.
_LINE, _EDGES = 0.19, 0.35
# Of a note, in characters per inch; of a legend's entries, inches per character, beside, between.
_CHARACTERS = 14
_CHARACTER, _BESIDE, _GAP = 0.062, 0.65, 0.25
_NOTE_SIZE = 8

PanelT = TypeVar("PanelT")


class Mark(NamedTuple):
    """A number in a picture, with the ends of its error bar or band.

    Attributes:
        reported: The paper's number of the same, if any.
        seeds: How many seeds it is the mean of; None where that is not known or says nothing.
    """

    value: float
    low: float
    high: float
    reported: float | None = None
    seeds: int | None = None


class Errors(NamedTuple):
    """What the error bars or bands of a picture are: those of several seeds, and of a single one.

    An empty text is for marks that have none.
    """

    several: str
    single: str = ""


def spread_errors(mark: str, spread: Spread, single: str = "") -> Errors:
    """Bars or bands (`mark`) of one spread to each side; of one seed the interval over `single`."""
    several = f"{mark}: \N{PLUS-MINUS SIGN} {SPREAD_WORDS[spread]}"
    return Errors(several, f"{mark}: 95 % interval over {single}" if single else "")


def seeds_note(seeds: Iterable[int | None], errors: Errors) -> str:
    """How many seeds the numbers of a picture are of, and what their bars or bands are.

    For instance `n = 3 seeds; band: ± one standard deviation over seeds`; empty without a number.
    """
    counts = {count for count in seeds if count}
    if not counts:
        return ""
    several = errors.several if max(counts) > 1 else ""
    single = errors.single if 1 in counts else ""
    if several and single:
        single = f"where n = 1, {single}"
    counted = f"n = {span(counts)} seed{'s' * (max(counts) > 1)}"
    return "; ".join(text for text in (counted, several, single) if text)


def spread_mark(number: Number) -> Mark:
    """A mark of one spread to each side; without a spread it has no width."""
    spread = number.spread or 0.0
    return Mark(number.mean, number.mean - spread, number.mean + spread, None, number.seeds)


def end_mark(number: Number, reported: float | None = None) -> Mark:
    """A mark with the ends of a number's error bar, and the paper's number, if any."""
    return Mark(number.mean, *number.ends, reported, number.seeds)


def plain_mark(value: float) -> Mark:
    """A mark without width."""
    return Mark(value, value, value)


def reported_mark(number: Number) -> Mark:
    """The mark of a number of the paper, which tells neither spread nor seeds."""
    return plain_mark(number.mean)


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
    size = (max(5.0, 0.6 + panel[0] * width), _EDGES + panel[1] * len(grid))
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


def add_legend(drawing: Drawing, handles: Sequence[Artist], notes: Iterable[str]) -> None:
    """Put the legend below the panels, headed by the notes; the picture grows by its height.

    Args:
        drawing: The picture.
        handles: Its entries; none are welcome.
        notes: What a reader has to know to read the picture; empty ones are left out.
    """
    width, height = drawing.get_size_inches()
    lines = textwrap.wrap("; ".join(filter(None, notes)), int(_CHARACTERS * width))
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    fitting = int((width + _GAP) / (_CHARACTER * longest + _BESIDE))
    columns = max(1, min(fitting, len(handles)))
    legend = drawing.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        handlelength=2.6,
        title="\n".join(lines),
        title_fontsize=_NOTE_SIZE,
    )
    legend.get_title().set_multialignment("center")
    rows = math.ceil(len(handles) / columns) + len(lines)
    drawing.set_figheight(height + _LINE * rows)
