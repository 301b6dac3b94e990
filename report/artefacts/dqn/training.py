"""Deep Q-learning: the gain of each method over the pretrained network, against the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from report.artefacts.dqn.common import (
    COLOURS,
    DATASETS,
    IDENTITY_NOTE,
    INTERVAL_NOTE,
    PAPERS_METHODS,
    REGIME_NOTE,
    Arm,
    find_arms,
    make_grid,
    missing_commands,
    panel_title,
    result_rows,
)
from report.cells import (
    MISSING,
    Interval,
    Summary,
    format_counts,
    format_interval,
    format_number,
    summarise,
)
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.curves import DASHED, DOTTED, SOLID, Curve, Look, Panel, draw_curves
from report.plots.panels import Mark
from report.results import Results
from report.statistics import bootstrap_interval, paired_differences
from report.tables import Block, ColumnGroup, Table

BASELINE = PAPERS_METHODS[0]
METHODS = [method for method in COLOURS if method != BASELINE]
LOOK = Look(
    colours={method: COLOURS[method] for method in METHODS},
    # On cartpole two curves lie on each other.
    styles=dict(zip(METHODS, (SOLID, DASHED, DOTTED), strict=True)),
    x_label="training steps (thousands)",
    y_label=f"gain in return over {BASELINE}",
    baseline=0.0,
)
_HEADERS = ("scale", "regime", "dataset", "method", "step", "gain", "low", "high", "n")
_UNITS = f"Gain: return minus that of {BASELINE}, seed by seed; mean [interval] over n seeds"


class Gain(NamedTuple):
    """A method's paired difference at one step; without an interval where there is one seed."""

    summary: Summary
    interval: Interval | None


# Method to step to its gain; without rows of both methods they are absent.
Gains = Mapping[str, Mapping[int, Gain]]


def figure2_training(results: Results, options: Options) -> Figure:
    """The second figure: each method's gain over the pretrained network, step by step.

    There is one row of panels per scale and regime with rows, and one column per environment; the
    band of a curve is the interval of the mean.
    """
    rows = result_rows(results, options)
    arms = find_arms(rows, options)
    gains = {arm.key: _gains(arm) for arm in arms}
    methods = [name for name in METHODS if any(name in each for each in gains.values())]
    methods = [name for name in METHODS if name in PAPERS_METHODS or name in methods]
    blocks = [
        Block(arm.labels, tuple(_lines(gains[arm.key], methods, arm.dataset))) for arm in arms
    ]
    seeds_note = "n: seeds of the columns before it, where they differ"
    extra = (INTERVAL_NOTE, seeds_note, "band: the interval", REGIME_NOTE, IDENTITY_NOTE)
    digest = Table(
        name="figure2_training",
        title=f"Gain in return over the {BASELINE} network against the training step",
        stub=("step",),
        groups=(ColumnGroup("", (*methods, "n")),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, _UNITS, with_spread=False), *extra),
        commands=missing_commands("figure2", arms, PAPERS_METHODS),
    )
    return Figure(
        digest=digest,
        headers=_HEADERS,
        rows=tuple(line for arm in arms for line in _number_lines(arm, gains[arm.key])),
        draw=lambda: draw_curves(
            make_grid(arms, lambda arm: _panel(panel_title(arm, options), gains[arm.key])), LOOK
        ),
    )


def _gains(arm: Arm) -> dict[str, dict[int, Gain]]:
    gains: dict[str, dict[int, Gain]] = {}
    for (method, step), values in sorted(arm.cells.items()):
        differences = paired_differences(values, arm.cells.get((BASELINE, step), {})).values()
        summary = summarise([*differences])
        if method != BASELINE and summary is not None:
            gain = Gain(summary, bootstrap_interval(differences))
            gains.setdefault(method, {})[step] = gain
    return gains


def _lines(gains: Gains, methods: Sequence[str], dataset: str) -> Iterator[tuple[str, ...]]:
    steps = sorted({step for points in gains.values() for step in points})
    for step in steps:
        found = [gains.get(method, {}).get(step) for method in methods]
        counts = format_counts([gain and gain.summary for gain in found])
        yield (str(step), *(_cell(gain, DATASETS[dataset].decimals) for gain in found), counts)
    if not steps:
        yield (MISSING, *(MISSING for _ in methods), "0")


def _cell(gain: Gain | None, decimals: int) -> str:
    if gain is None:
        return MISSING
    interval = format_interval(gain.interval, decimals, signed=True)
    return f"{format_number(gain.summary.mean, True, decimals)} {interval}"


def _number_lines(arm: Arm, gains: Gains) -> Iterator[tuple[str, ...]]:
    for method in METHODS:
        for step, (summary, interval) in gains.get(method, {}).items():
            low, high = ("", "") if interval is None else map(repr, interval)
            numbers = (repr(summary.mean), low, high, str(summary.seeds))
            yield (*arm.key, method, str(step), *numbers)


def _panel(title: str, gains: Gains) -> Panel | None:
    curves = [
        Curve(method, method, {step / 1000: _band(gain) for step, gain in gains[method].items()})
        for method in METHODS
        if method in gains
    ]
    return Panel(title, curves) if curves else None


def _band(gain: Gain) -> Mark:
    mean = gain.summary.mean
    return Mark(mean, *(gain.interval or (mean, mean)))
