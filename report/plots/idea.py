"""Draw the idea of the methods: the views of an image, the model's outputs, and four weightings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.frame.methods import METHODS, PAPERS
from report.plots.panels import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.patches import Rectangle

# Made up, as all numbers in this picture: the model's output for each view, and the weights.
_OUTPUTS = ((0.8, 0.1, 0.1), (0.3, 0.3, 0.4), (0.2, 0.5, 0.3), (0.4, 0.2, 0.4))
_WEIGHTS = {
    "pretrained": (0, 1, 0, 0),
    "equitune": (0.25, 0.25, 0.25, 0.25),
    "equizero": (1, 0, 0, 0),
    "lambda_equitune": (0.7, 0.1, 0.05, 0.15),
}
_SAID = {
    "pretrained": "x as\nit is",
    "equitune": "all views\nalike",
    "equizero": "the surest\nview",
    "lambda_equitune": "a small\nnetwork",
}
# The input is turned by so many quarters; each row is a view, turned by 0 to 3 of them.
_INPUT = 1
_ROWS = (3.9, 2.8, 1.7, 0.6)
_SIDE, _GREY = 0.86, "0.35"


def draw_idea() -> Drawing:
    """One row per view: the turned input, the model's output, the weight by each method."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8.6, 3.9))
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 11.6), ylim=(-0.45, 5.25), aspect="equal")
    axes.set_axis_off()
    middle = (_ROWS[0] + _ROWS[-1]) / 2
    _photo(axes, 0.8, middle, _INPUT)
    axes.text(0.8, middle - 0.75, "input x", ha="center", va="top")
    _headers(axes)
    axes.text(3.95, middle, "model M", ha="center", va="center", rotation=90, fontsize=11)
    axes.add_patch(_box(3.6, 0.2, 0.7, _ROWS[0] - _ROWS[-1] + 0.8))
    for quarter, height in enumerate(_ROWS):
        _arrow(axes, 1.35, middle, 1.85, height)
        _photo(axes, 2.4, height, quarter)
        _arrow(axes, 2.95, height, 3.55, height)
        _arrow(axes, 4.35, height, 4.8, height)
        _output(axes, 5.0, height, _OUTPUTS[quarter])
        for place, method in enumerate(PAPERS):
            _weight(axes, 6.95 + 1.25 * place, height, method, _WEIGHTS[method][quarter])
    said = "prediction = mean of the outputs with these weights, each turned back if outputs turn"
    axes.text(5.8, -0.25, said, ha="center", va="center", color=_GREY)
    return drawing


def _headers(axes: Axes) -> None:
    top = _ROWS[0] + 0.62
    axes.text(2.4, top, "its views gx", ha="center")
    axes.text(5.35, top, "outputs", ha="center")
    for place, method in enumerate(PAPERS):
        label, x = METHODS[method].label, 6.95 + 1.25 * place
        axes.text(x, top + 0.36, label, ha="center", weight="bold", color=METHODS[method].colour)
        axes.text(x, top - 0.1, _SAID[method], ha="center", color=_GREY, fontsize=7)


def _photo(axes: Axes, x: float, y: float, quarter: int) -> None:
    """A house under a sun, turned by so many quarters."""
    from matplotlib.patches import Circle, Polygon
    from matplotlib.transforms import Affine2D

    move = Affine2D().scale(_SIDE).rotate_deg(90 * quarter).translate(x, y) + axes.transData
    shapes = (
        Polygon([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], color=SKY_BLUE, alpha=0.35),
        Polygon([(-0.5, -0.5), (0.5, -0.5), (0.5, -0.3), (-0.5, -0.3)], color=GREEN),
        Polygon([(-0.3, -0.35), (0.15, -0.35), (0.15, 0.0), (-0.3, 0.0)], color="0.95"),
        Polygon([(-0.38, 0.0), (0.23, 0.0), (-0.075, 0.28)], color=VERMILION),
        Circle((0.32, 0.3), 0.1, color=ORANGE),
    )
    for shape in shapes:
        shape.set_transform(move)
        axes.add_patch(shape)


def _output(axes: Axes, x: float, y: float, values: tuple[float, ...]) -> None:
    """Bars of the scores of three classes."""
    for place, value in enumerate(values):
        axes.add_patch(_box(x + 0.26 * place, y - 0.4, 0.18, 0.85 * value, fill=BLUE))


def _weight(axes: Axes, x: float, y: float, method: str, weight: float) -> None:
    """A disc whose area is the weight, in a ring whose area is 1."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), 0.42, fill=False, color="0.85"))
    if weight:
        axes.add_patch(Circle((x, y), 0.42 * weight**0.5, color=METHODS[method].colour))


def _box(x: float, y: float, width: float, height: float, fill: str = "none") -> Rectangle:
    from matplotlib.patches import Rectangle as Box

    edge = "black" if fill == "none" else "none"
    return Box((x, y), width, height, facecolor=fill, edgecolor=edge)


def _arrow(axes: Axes, x: float, y: float, to_x: float, to_y: float) -> None:
    axes.annotate(
        "", (to_x, to_y), (x, y), arrowprops={"arrowstyle": "->", "color": _GREY, "shrinkA": 0}
    )
