"""SCAN: Figure 10, accuracy against iterations of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, LAMBDA_EQUITUNE
from experiments.frame.rows import PROTOCOLS
from report.artefacts.scan.common import GROUPS, MODELS, ZERO_SHOT, result_rows
from report.captions import commands
from report.cells import EN_DASH, MISSING, Summary, format_summary, over_seeds
from report.comparison import notes
from report.figures import Figure
from report.options import Options
from report.plots.curves import (
    DASHED,
    DOTTED,
    SOLID,
    Curve,
    Look,
    Panel,
    draw_curves,
    spread_band,
)
from report.plots.panels import BLUE, GREEN, ORANGE
from report.results import Results, select, step_numbers
from report.tables import Block, ColumnGroup, Table

LAST_STEP = 3000
EVERY = 200
DIGEST_STEPS = (0, 1000, 2000, 3000)
PAPERS_DATASET = "add_jump"
# Legend, and method of the rows.
METHODS = {
    EQUIZERO: EQUIZERO,
    EQUITUNE: EQUITUNE,
    f"{LAMBDA_EQUITUNE} (ours)": LAMBDA_EQUITUNE,
}
LOOK = Look(
    colours=dict(zip(MODELS, (BLUE, ORANGE, GREEN), strict=True)),
    styles=dict(zip(METHODS, (SOLID, DOTTED, DASHED), strict=True)),
    x_label="fine-tuning iterations",
    y_label="test accuracy (%)",
    y_limits=(0, 100),
)
# Model and method of every curve, in the order of the legend.
CURVES = [(model, method) for model in MODELS for method in METHODS.values()]
_HEADERS = ("scale", "protocol", "dataset", "model", "method", "step", "mean", "spread", "n")


class Arm(NamedTuple):
    """One panel of the figure: curves by model and method; those without rows are absent."""

    scale: str
    dataset: str
    protocol: str
    curves: dict[tuple[str, str], dict[int, Summary]]


def figure10(results: Results, options: Options) -> Figure:
    """Figure 10: test accuracy against iterations of fine-tuning, mean and spread over seeds.

    There is one panel per protocol with rows, and a row of panels per scale and data set.
    """
    rows = _curve_rows(results, options)
    arms = [
        Arm(scale, dataset, protocol, _curves(arm, options))
        for scale in options.scales
        for dataset in GROUPS
        for protocol in PROTOCOLS
        for arm in [select(rows, scale=scale, dataset=dataset, protocol=protocol)]
    ]
    return Figure(
        digest=_digest(arms, rows, options),
        headers=_HEADERS,
        rows=tuple(line for arm in arms for line in _number_lines(arm)),
        draw=lambda: draw_curves([*_grid(arms, options)], LOOK),
    )


def _curve_rows(results: Results, options: Options) -> pd.DataFrame:
    rows = select(
        result_rows(results, options),
        variant="",
        split="test",
        model=MODELS,
        method=tuple(METHODS.values()),
        dataset=tuple(GROUPS),
    )
    rows = rows[(rows["step"] != ZERO_SHOT) & (rows["group"] == rows["dataset"].map(GROUPS))]
    rows = rows.assign(iteration=step_numbers(rows))
    # Further on are the ends of other runs, those of Tables 10 to 12; between are trials of others.
    kept = (rows["iteration"] % EVERY == 0) | (rows["scale"] != "paper")
    return rows[kept & (rows["iteration"] <= LAST_STEP)]


def _curves(rows: pd.DataFrame, options: Options) -> dict[tuple[str, str], dict[int, Summary]]:
    curves: dict[tuple[str, str], dict[int, Summary]] = {}
    for (model, method, iteration), cell in rows.groupby(["model", "method", "iteration"]):
        summary = over_seeds(cell, options.spread)
        assert summary is not None
        curves.setdefault((model, method), {})[iteration] = summary
    return curves


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    for model, method in CURVES:
        for step, (mean, spread, seeds) in arm.curves.get((model, method), {}).items():
            width = "" if spread is None else repr(spread)
            names = (arm.scale, arm.protocol, arm.dataset, model, method)
            yield (*names, str(step), repr(mean), width, str(seeds))


def _grid(arms: Sequence[Arm], options: Options) -> Iterator[list[Panel]]:
    for scale in options.scales:
        for dataset in GROUPS:
            row = [
                Panel(_title(arm, options), [*_panel_curves(arm)])
                for arm in arms
                if (arm.scale, arm.dataset) == (scale, dataset) and arm.curves
            ]
            if row:
                yield row


def _title(arm: Arm, options: Options) -> str:
    scale = f", scale {arm.scale}" if len(options.scales) > 1 else ""
    return f"{arm.dataset}, protocol {arm.protocol}{scale}"


def _panel_curves(arm: Arm) -> Iterator[Curve]:
    for model in MODELS:
        for label, method in METHODS.items():
            points = arm.curves.get((model, method))
            if points:
                yield Curve(model, label, {x: spread_band(point) for x, point in points.items()})


def _digest(arms: Sequence[Arm], rows: pd.DataFrame, options: Options) -> Table:
    steps = _digest_steps(arms, options)
    blocks, incomplete = [], []
    for arm in arms:
        # Curves of the data set that the paper does not plot are welcome, not missing.
        beyond = arm.dataset != PAPERS_DATASET
        pairs = [pair for pair in CURVES if pair in arm.curves or not beyond]
        if not pairs:
            continue
        labels = {"scale": arm.scale, "protocol": arm.protocol, "dataset": arm.dataset}
        lines = tuple(_digest_line(arm, *pair, steps) for pair in pairs)
        blocks.append(Block(labels, lines))
        if any(MISSING in line for line in lines):
            chosen = f" dataset={arm.dataset}" if beyond else ""
            incomplete.append(f"protocol={arm.protocol} scale={arm.scale}{chosen}")
    extra = (
        "band: mean \N{PLUS-MINUS SIGN} spread",
        f"n: seeds, least{EN_DASH}most where the steps differ",
        "the paper prints Figure 10 as a picture without numbers, so none stand beside ours; it "
        "has add_jump, equitune and equizero: around_right and lambda_equitune are added here",
        "step: iterations done; the authors' plot is shifted by about one tick of 200",
    )
    return Table(
        name="figure10",
        title="Figure 10: test accuracy on SCAN against iterations of fine-tuning",
        stub=("model", "method"),
        groups=(ColumnGroup("", (*(f"step {step}" for step in steps), "n")),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options), *extra),
        commands=commands("figure10", incomplete),
    )


def _digest_steps(arms: Sequence[Arm], options: Options) -> list[int]:
    """Choose the steps of the digest; a demo has its own, of which it shows thirds."""
    found = sorted({step for arm in arms for points in arm.curves.values() for step in points})
    if "paper" in options.scales or not found:
        return list(DIGEST_STEPS)
    last = len(found) - 1
    return sorted({found[last * third // 3] for third in range(4)})


def _digest_line(arm: Arm, model: str, method: str, steps: Sequence[int]) -> tuple[str, ...]:
    points = arm.curves.get((model, method), {})
    counts = sorted({point.seeds for point in points.values()}) or [0]
    seeds = EN_DASH.join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (model, method, *(format_summary(points.get(step)) for step in steps), seeds)
