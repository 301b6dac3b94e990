"""CLIP: Figure 12, how lambda divides among the turns of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments.frame.methods import METHODS
from report.aggregate import Numbers
from report.artefacts.clip import common
from report.artefacts.clip.common import ARM, LAMBDA, PLACE
from report.cells import NUMBER_HEADERS, Number, format_measure, number_cells
from report.figures import Figure
from report.options import Options
from report.plots.bars import BarLook, BarPanel, Bars, bar_grid, bar_limits, draw_bars
from report.plots.panels import BLUE, GREEN, ORANGE, PURPLE, Mark, plain_mark
from report.results import Results, select
from report.spec import Line, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from report.plots.bars import Picture

NAME = "figure12"
SHARE, HIGHEST, SHOWN = "lambda_share", "lambda_highest_upright", "lambda_share_shown"
PICTURE = "shown.png"
# View of our rows, and how the table and the legend name it.
TURNS = {"0": "upright", "1": "by 90", "2": "by 180", "3": "by 270"}
# The authors' script turns clockwise, once more for each point, so that the upright image is last.
PAPERS_VIEWS = {"360": "0", "270": "1", "180": "2", "90": "3"}
COLOURS = dict(zip(TURNS.values(), (BLUE, ORANGE, GREEN, PURPLE), strict=True))
_ALL, _ONE = "all test images", "one test image"
_TICK = 10
_EVEN = 25.0
_NOTES = (
    "ours: the mean over all upright test images of what lambda gives to a turned view of each",
    "the paper's: one image; what lambda gave was not divided by its sum before it was used, but "
    "for the picture alone; the values are in the authors' script, which draws the ResNets",
    "by 90, 180, 270: turned counter-clockwise; the authors' script turns clockwise, so that its "
    "first point stands beside our 270, its third beside our 90, and its last, a whole turn, is "
    "the upright image",
    "highest upright: percent of images of which lambda is highest for the upright view",
    f"line: {_EVEN:g} %, which equitune gives to each",
    common.INTERVAL_NOTE,
    "one test image: what lambda gives to its views, in the run of the first seed; its picture "
    "stands there where that run's folder is at hand",
    "error bars: one spread to each side, and for a single seed the interval",
    common.OURS_NOTE,
)
_HIGHEST = {"view": "", "metric": HIGHEST}
_SPEC = common.bars_spec(
    NAME,
    "Figure 12: how lambda divides among the four turns of an image",
    stub=("shown",),
    columns={
        "ours": (
            *(shown(turn, format_measure, view=view) for view, turn in TURNS.items()),
            shown("highest upright", format_measure, **_HIGHEST),
            common.least_most(*({"view": view} for view in TURNS), _HIGHEST),
        ),
        "paper reports, one image": [
            common.papers(turn, view=view) for view, turn in TURNS.items()
        ],
    },
    units="Shares in percent of the sum over the four views, mean (spread) [interval] over n seeds",
    titles={"shown": "model"},
    notes=_NOTES,
)


def lambda_figure(results: Results, options: Options) -> Figure:
    """Figure 12: lambda's share of each turn.

    There is a panel per scale and protocol with rows, and one of the paper's image; without rows of
    ours there is no picture.
    """
    rows = common.of_data(common.result_rows(results, options, trained=False), NAME)
    rows = select(rows, departure="", step="", group="rot90", transform="rot90")
    metrics = [f"{metric}{end}" for metric in (SHARE, HIGHEST) for end in common.ENDS]
    learning = [name for name, method in METHODS.items() if method.needs_net]
    rows = select(rows, metric=[SHOWN, *metrics], method=learning)
    numbers = Numbers(rows, (*ARM, "method", "view", "metric"), options.spread)
    reported = select(common.reported_rows(results, NAME), metric=SHARE)
    # It has them as fractions of four decimals.
    percent = (100 * reported["value"]).round(2)
    reported = reported.assign(view=reported["view"].replace(PAPERS_VIEWS), value=percent)
    lines = [Line(labels, numbers) for labels in _lines(numbers, options)]
    ours, theirs = [row for line in lines for row in _number_rows(line)], _papers(reported)
    return Figure(
        digest=_SPEC.build(numbers, options, [line.labels for line in lines], reported),
        headers=(*PLACE, "model", "view", *NUMBER_HEADERS),
        rows=(*ours, *(_papers_rows(theirs) if ours else ())),
        draw=lambda: _draw(lines, theirs, options),
    )


def _lines(numbers: Numbers, options: Options) -> Iterator[dict[str, str]]:
    """The labels of lines; a method that is not the paper's is told in the name of the model."""
    for arm in common.arms(numbers, NAME, options):
        for method in common.methods_of([LAMBDA], numbers.rows["method"]):
            names = [arm["model"], *([METHODS[method].label] if method != LAMBDA else [])]
            line = {**arm, "method": method, "metric": SHARE, "shown": ", ".join(names)}
            yield line | {"picture": "\n".join([common.in_picture(names[0]), *names[1:]])}


def _papers(reported: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The paper's shares: model to turn to percent."""
    ordered = reported.sort_values("view", kind="stable")
    found: dict[str, dict[str, float]] = {}
    columns = (ordered[name] for name in ("model", "view", "value"))
    for model, view, value in zip(*columns, strict=True):
        found.setdefault(model, {})[TURNS[view]] = value
    return found


def _shares(line: Line) -> dict[str, Number]:
    found = {turn: line.find(view=view) for view, turn in TURNS.items()}
    return {turn: number for turn, number in found.items() if number is not None}


def _one_image(line: Line) -> tuple[dict[str, float], Path | None]:
    """The shares of the image that the run of the first seed shows, and the image if at hand."""
    labels = {name: line.labels[name] for name in (*ARM, "method")} | {"metric": SHOWN}
    found = {turn: line.numbers.values(**labels, view=view) for view, turn in TURNS.items()}
    seed = min(chain(*found.values()), key=lambda seed: (len(seed), seed), default="")
    rows = select(line.numbers.rows, **labels, seed=seed)
    places = {Path(each.rpartition(":")[0]).parent / PICTURE for each in rows["where"]}
    shares = {turn: own[seed] for turn, own in found.items() if seed in own}
    return shares, next((path for path in places if path.is_file()), None)


def _number_rows(line: Line) -> Iterator[tuple[str, ...]]:
    names = [line.labels[name] for name in (*PLACE, "shown")]
    for turn, number in _shares(line).items():
        yield (*names, turn, *number_cells(number))
    for turn, share in _one_image(line)[0].items():
        yield (*names, f"{turn}, one image", repr(share), "", "", "", "1")


def _papers_rows(theirs: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    for model, shares in theirs.items():
        names = ("paper", "reported", common.dataset(NAME, "paper"), model)
        yield from ((*names, turn, repr(share), "", "", "", "") for turn, share in shares.items())


def _draw(
    lines: Sequence[Line], theirs: Mapping[str, Mapping[str, float]], options: Options
) -> Drawing:
    bars: Bars = {}
    pictures: dict[tuple[str, ...], dict[str, dict[str, Picture]]] = {}
    for line in lines:
        all_images, one_image = ((*(line.labels[n] for n in PLACE), name) for name in (_ALL, _ONE))
        name, (shares, path) = line.labels["picture"], _one_image(line)
        means = {turn: Mark(number.mean, *number.ends) for turn, number in _shares(line).items()}
        bars.setdefault(all_images, {})[name] = means
        bars.setdefault(one_image, {})[name] = _plain(shares)
        if path is not None:
            pictures.setdefault(one_image, {})[name] = _turned(path)

    def title(panel: tuple[str, ...]) -> str:
        scale, protocol, data, name = panel
        below = common.place(scale, protocol, options) if name == _ALL else "first seed"
        return f"{name}, {data}\n{below}"

    grid = bar_grid(bars, title, 3, pictures)
    if theirs:
        groups = {model: _plain(shares) for model, shares in theirs.items()}
        data = common.dataset(NAME, "paper")
        grid[0].append(BarPanel(f"the paper's, {data}\none image", groups))
    limits = bar_limits(grid, _TICK)
    return draw_bars(grid, BarLook(COLOURS, "share of lambda (%)", limits, baseline=_EVEN))


def _plain(shares: Mapping[str, float]) -> dict[str, Mark]:
    return {turn: plain_mark(share) for turn, share in shares.items()}


def _turned(path: Path) -> dict[str, Picture]:
    """Read an image and turn it as the views are."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    return {turn: np.rot90(pixels, int(view)) for view, turn in TURNS.items()}
