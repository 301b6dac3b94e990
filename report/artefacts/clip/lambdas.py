"""The CLIP task: Figure 12, how lambda divides among the turns of an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from report.artefacts.clip.common import (
    INTERVAL_NOTE,
    LAMBDA,
    MODELS,
    OURS_NOTE,
    Preset,
    apart,
    arguments,
    expected_models,
    format_papers,
    in_order,
    label,
    of_data,
    protocols,
    reported_cells,
    reported_rows,
    result_rows,
)
from report.captions import commands
from report.cells import (
    MISSING,
    NUMBER_HEADERS,
    Measure,
    format_measure,
    measure,
    number_cells,
    span,
)
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.bars import BarLook, BarPanel, draw_bars
from report.plots.panels import BLUE, GREEN, ORANGE, PURPLE, Mark, plain_mark
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure as Drawing
    from numpy.typing import NDArray

NAME = "figure12"
PRESET = Preset(MODELS[:2])
SHARE, HIGHEST = "lambda_share", "lambda_highest_upright"
# View of our rows, and how the table and the legend name it.
TURNS = {"0": "upright", "1": "by 90", "2": "by 180", "3": "by 270"}
# The authors' script turns clockwise, once more for each point, so that the upright image is last.
PAPERS_VIEWS = {"360": "0", "270": "1", "180": "2", "90": "3"}
COLOURS = dict(zip(TURNS.values(), (BLUE, ORANGE, GREEN, PURPLE), strict=True))
_HEADERS = (*TURNS.values(), "highest upright", "n")
_NUMBERS = ("scale", "protocol", "dataset", "model", "view", *NUMBER_HEADERS)
SHOWN, PICTURE = "lambda_share_shown", "shown.png"
_ENDS = ("", "_low", "_high")
_METRICS = (SHOWN, *(f"{metric}{end}" for metric in (SHARE, HIGHEST) for end in _ENDS))
_TICK = 10
_EVEN = 25.0
_UNITS = "Shares in percent of the sum over the four views, mean (spread) [interval] over n seeds"
_NOTES = (
    "ours: the mean over all upright test images of what lambda gives to a turned view of each",
    "the paper's: one image; what lambda gave was not divided by its sum before it was used, but "
    "for the picture alone; the values are in the authors' script, which draws the ResNets",
    "by 90, 180, 270: turned counter-clockwise; the authors' script turns clockwise, so that its "
    "first point stands beside our 270, its third beside our 90, and its last, a whole turn, is "
    "the upright image",
    "highest upright: percent of images of which lambda is highest for the upright view",
    f"line: {_EVEN:g} %, which equitune gives to each",
    INTERVAL_NOTE,
    "one test image: what lambda gives to its views, in the run of the first seed; its picture "
    "stands there where that run's folder is at hand",
    "error bars: one spread to each side, and for a single seed the interval",
    OURS_NOTE,
)


class Arm(NamedTuple):
    """One model, with lambda learned in one protocol; views without rows are absent.

    Attributes:
        highest: How often lambda is highest for the upright view.
        shown: View to its share of the one image that a run shows, of the first seed.
        picture: That image, upright, where the run's folder is at hand.
    """

    scale: str
    protocol: str
    dataset: str
    model: str
    shares: Mapping[str, Measure]
    highest: Measure | None
    shown: Mapping[str, float]
    picture: Path | None

    @property
    def place(self) -> tuple[str, str, str]:
        """What it shares with the other models beside it."""
        return (self.scale, self.protocol, self.dataset)


def lambda_figure(results: Results, options: Options) -> Figure:
    """Figure 12: lambda's share of each turn.

    There is a panel per scale and protocol with rows, and one of the paper's image; without rows of
    ours there is no picture.
    """
    rows = of_data(result_rows(results, options, trained=False), PRESET)
    rows = select(rows, departure="", step="", group="rot90", transform="rot90", method=LAMBDA)
    rows = select(rows, metric=_METRICS)
    paper = _papers(results)
    arms = [*_arms(rows, options)]
    lines = [line for arm in arms for line in _number_lines(arm)]
    if lines:
        lines += _papers_lines(paper)
    return Figure(
        digest=_digest(arms, paper, rows, options),
        headers=_NUMBERS,
        rows=tuple(lines),
        draw=lambda: _draw(arms, paper, options),
    )


def _papers(results: Results) -> dict[str, dict[str, float]]:
    """Find the paper's shares in percent: model to our view to value."""
    found: dict[str, dict[str, float]] = {}
    rows = select(reported_rows(results, NAME), metric=SHARE)
    for model, view, value in zip(rows["model"], rows["view"], rows["value"], strict=True):
        # It has them as fractions of four decimals.
        found.setdefault(model, {})[PAPERS_VIEWS[view]] = round(100 * float(value), 2)
    return found


def _arms(rows: pd.DataFrame, options: Options) -> Iterator[Arm]:
    """Find the models with rows, and those of the preset."""
    for scale in options.scales:
        inside = select(rows, scale=scale)
        for protocol in protocols(inside):
            part = select(inside, protocol=protocol)
            expected = expected_models(PRESET, scale, protocol)
            for model in in_order({*expected, *part["model"]}):
                own = select(part, model=model)
                views = {view: measure(select(own, view=view), SHARE, options) for view in TURNS}
                shares = {view: found for view, found in views.items() if found is not None}
                highest = measure(select(own, view=""), HIGHEST, options)
                shown, picture = _shown(own)
                data = PRESET.data(scale)
                yield Arm(scale, protocol, data, model, shares, highest, shown, picture)


def _shown(rows: pd.DataFrame) -> tuple[dict[str, float], Path | None]:
    """Find the shares of the image that the run of the first seed shows, and the image."""
    rows = select(rows, metric=SHOWN)
    first = sorted(set(rows["seed"]), key=lambda seed: (len(seed), seed))[:1]
    rows = select(rows, seed=first)
    shares = {view: float(v) for view, v in zip(rows["view"], rows["value"], strict=True)}
    places = {Path(where.rpartition(":")[0]).parent / PICTURE for where in rows["where"]}
    return shares, next((path for path in places if path.is_file()), None)


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    for view, number in arm.shares.items():
        yield (*arm.place, arm.model, TURNS[view], *number_cells(number))
    for view, share in arm.shown.items():
        yield (*arm.place, arm.model, f"{TURNS[view]}, one image", repr(share), "", "", "", "1")


def _papers_lines(paper: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    for model, shares in paper.items():
        for view in TURNS:
            names = ("paper", "reported", PRESET.dataset, model, TURNS[view])
            yield (*names, *reported_cells(shares[view]))


def _digest(
    arms: Sequence[Arm],
    paper: Mapping[str, Mapping[str, float]],
    rows: pd.DataFrame,
    options: Options,
) -> Table:
    blocks, incomplete = [], []
    for place in dict.fromkeys(arm.place for arm in arms):
        inside = [arm for arm in arms if arm.place == place]
        # The paper's shares are of an image of its own data set.
        own = paper if place[0] == "paper" else {}
        lines = {arm.model: _line(arm, own.get(arm.model, {})) for arm in inside}
        names = ("scale", "protocol", "dataset")
        blocks.append(Block(dict(zip(names, place, strict=True)), tuple(lines.values())))
        lacking = [model for model, line in lines.items() if MISSING in line]
        incomplete += [arguments(PRESET, *place, models) for models in apart(lacking)]
    return Table(
        name=NAME,
        title="Figure 12: how lambda divides among the four turns of an image",
        stub=("model",),
        groups=(
            ColumnGroup("ours", _HEADERS),
            ColumnGroup("paper reports, one image", (*TURNS.values(),)),
        ),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, _UNITS), *_NOTES),
        commands=commands(NAME, map(" ".join, incomplete)),
    )


def _line(arm: Arm, paper: Mapping[str, float]) -> tuple[str, ...]:
    found = [*(arm.shares.get(view) for view in TURNS), arm.highest]
    return (
        arm.model,
        *map(format_measure, found),
        span(number.summary.seeds if number else 0 for number in found),
        *(format_papers(paper.get(view)) for view in TURNS),
    )


def _draw(
    arms: Sequence[Arm], paper: Mapping[str, Mapping[str, float]], options: Options
) -> Drawing:
    drawn = [arm for arm in arms if arm.shares]
    grid = []
    for place in dict.fromkeys(arm.place for arm in drawn):
        beside = [arm for arm in drawn if arm.place == place]
        panels = [_panel(beside, options)]
        if any(arm.shown for arm in beside):
            panels.append(_shown_panel(beside))
        grid.append(panels)
    if paper:
        grid[0].append(_papers_panel(paper))
    highest = max(
        bar.high
        for row in grid
        for panel in row
        for bars in panel.groups.values()
        for bar in bars.values()
    )
    limits = (0.0, float(_TICK * math.ceil(highest / _TICK)))
    look = BarLook(COLOURS, "share of lambda (%)", limits, baseline=_EVEN)
    return draw_bars(grid, look)


def _panel(arms: Sequence[Arm], options: Options) -> BarPanel:
    scale = f", scale {arms[0].scale}" if len(options.scales) > 1 else ""
    groups = {
        label(arm.model): {
            TURNS[view]: Mark(found.summary.mean, *found.ends) for view, found in arm.shares.items()
        }
        for arm in arms
    }
    title = f"all test images, {arms[0].dataset}\nprotocol {arms[0].protocol}{scale}"
    return BarPanel(title, groups)


def _shown_panel(arms: Sequence[Arm]) -> BarPanel:
    """Show one image: its four views, where it is at hand, above their shares."""
    shown = [arm for arm in arms if arm.shown]
    groups = {
        label(arm.model): {TURNS[view]: plain_mark(s) for view, s in arm.shown.items()}
        for arm in shown
    }
    pictures = {label(arm.model): _turned(arm.picture) for arm in shown if arm.picture is not None}
    return BarPanel(f"one test image, {arms[0].dataset}\nfirst seed", groups, pictures)


def _turned(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Read an image and turn it as the views are."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    return {name: np.rot90(pixels, int(view)) for view, name in TURNS.items()}


def _papers_panel(paper: Mapping[str, Mapping[str, float]]) -> BarPanel:
    groups = {
        model: {TURNS[view]: plain_mark(shares[view]) for view in TURNS}
        for model, shares in paper.items()
    }
    return BarPanel(f"the paper's, {PRESET.dataset}\none image", groups)
