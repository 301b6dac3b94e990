"""CLIP: Figure 12, how lambda divides among the turns of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frame.methods import METHODS
from report.aggregate import Numbers
from report.artefacts.clip import common
from report.artefacts.clip.common import ARM, LAMBDA, PLACE
from report.cells import NUMBER_HEADERS, Number, format_measure, number_cells
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.bars import BarLook, BarPanel, Bars, bar_grid, bar_limits, draw_bars
from report.plots.panels import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    end_mark,
    plain_mark,
    reported_mark,
    spread_errors,
)
from report.plots.words import plain
from report.results import Results, seed_order, select
from report.spec import Line, shown

if TYPE_CHECKING:
    from report.plots.bars import Picture

NAME = "figure12"
SHARE, HIGHEST, SHOWN = "lambda_share", "lambda_highest_upright", "lambda_share_shown"
PICTURE = "shown.png"
# View of our rows, and how the table and the legend name it.
TURNS = {"0": "upright", "1": "by 90", "2": "by 180", "3": "by 270"}
# The authors' script turns clockwise, once more for each point, so that the upright image is last.
PAPERS_VIEWS = {"360": "0", "270": "1", "180": "2", "90": "3"}
COLOURS = dict(zip(TURNS.values(), (BLUE, ORANGE, GREEN, PURPLE), strict=True))
# Below a group of bars, and what a picture says of it.
_ALL, _ONE = "all images", "one image"
_ONE_NOTE = f"{_ONE}: a test image in the run of the first seed"
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

    There is a panel per scale and protocol with rows, in which the mean over all images stands
    beside one image, and a panel of the paper's image; without rows of ours there is no picture.
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
    known = Numbers(reported, ("model", "view"))
    names = {"scale": "paper", "protocol": "reported", "dataset": common.dataset(NAME, "paper")}
    papers = [Line({**names, "shown": e["model"], **e}, known) for e in known.labels("model")]
    lines = [Line(labels, numbers) for labels in _lines(numbers, options)]
    rows_of_papers = [(*row[:-1], "") for line in papers for row in _means(line)]
    ours = [row for line in lines for row in (*_means(line), *_ones(line))]
    return Figure(
        digest=_SPEC.build(numbers, options, [line.labels for line in lines], reported),
        headers=(*PLACE, "model", "view", *NUMBER_HEADERS),
        rows=(*ours, *(rows_of_papers if ours else ())),
        draw=lambda: _draw(lines, papers, options),
    )


def _lines(numbers: Numbers, options: Options) -> Iterator[dict[str, str]]:
    """The labels of lines; a method that is not the paper's is told in the name of the model."""
    for arm in common.arms(numbers, NAME, options):
        found = numbers.labels("method", **{name: arm[name] for name in ARM})
        for method in common.methods_of([LAMBDA], (own["method"] for own in found)):
            names = [arm["model"], *([METHODS[method].label] if method != LAMBDA else [])]
            line = {**arm, "method": method, "metric": SHARE, "shown": ", ".join(names)}
            below = [common.in_picture(names[0]), *(name.replace(" ", "\n") for name in names[1:])]
            yield line | {"picture": "\n".join(below)}


def _shares(line: Line) -> dict[str, Number]:
    found = {turn: line.find(view=view) for view, turn in TURNS.items()}
    return {turn: number for turn, number in found.items() if number is not None}


def _one_image(line: Line) -> tuple[dict[str, float], Path | None]:
    """The shares of the image that the run of the first seed shows, and the image if at hand."""
    labels = {name: line.labels[name] for name in (*ARM, "method")} | {"metric": SHOWN}
    found = {turn: line.numbers.values(**labels, view=view) for view, turn in TURNS.items()}
    seed = min(chain(*found.values()), key=seed_order, default="")
    rows = select(line.numbers.rows, **labels, seed=seed)
    places = {Path(each.rpartition(":")[0]).parent / PICTURE for each in rows["where"]}
    shares = {turn: own[seed] for turn, own in found.items() if seed in own}
    return shares, next((path for path in places if path.is_file()), None)


def _means(line: Line) -> Iterator[tuple[str, ...]]:
    for turn, number in _shares(line).items():
        yield (*(line.labels[name] for name in (*PLACE, "shown")), turn, *number_cells(number))


def _ones(line: Line) -> Iterator[tuple[str, ...]]:
    for turn, share in _one_image(line)[0].items():
        names = (line.labels[name] for name in (*PLACE, "shown"))
        yield (*names, f"{turn}, one image", repr(share), "", "", "", "1")


def _draw(lines: Sequence[Line], papers: Sequence[Line], options: Options) -> Drawing:
    bars: Bars = {}
    pictures: dict[tuple[str, ...], dict[str, dict[str, Picture]]] = {}
    for line in lines:
        key = tuple(line.labels[name] for name in PLACE)
        name, (shares, path) = line.labels["picture"], _one_image(line)
        own = bars.setdefault(key, {})
        own[f"{name}\n{_ALL}"] = {turn: end_mark(number) for turn, number in _shares(line).items()}
        own[f"{name}\n{_ONE}"] = {turn: plain_mark(share) for turn, share in shares.items()}
        if path is not None:
            pictures.setdefault(key, {})[f"{name}\n{_ONE}"] = _turned(path)

    def title(panel: tuple[str, ...]) -> str:
        scale, protocol, data = panel
        return f"{plain(data)}\n{common.place(scale, protocol, options)}"

    grid = bar_grid(bars, title, 1, pictures)
    if papers:
        groups = {
            line.labels["model"]: {turn: reported_mark(n) for turn, n in _shares(line).items()}
            for line in papers
        }
        grid[0].append(
            BarPanel(f"the paper's models, one image\n{plain(papers[0].labels['dataset'])}", groups)
        )
    look = BarLook(
        COLOURS,
        "share of \N{GREEK SMALL LETTER LAMDA} (%)",
        bar_limits(grid, _TICK),
        spread_errors("error bar", options.spread, "images"),
        [
            common.ours_note(line.labels["model"] for line in lines),
            _ONE_NOTE,
            f"line: {_EVEN:g} %, the share of each view in equitune",
        ],
        baseline=_EVEN,
    )
    return draw_bars(grid, look)


def _turned(path: Path) -> dict[str, Picture]:
    """Read an image and turn it as the views are."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    return {turn: np.rot90(pixels, int(view)) for view, turn in TURNS.items()}
