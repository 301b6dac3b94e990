"""SCAN: Figure 10, accuracy against iterations of fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from experiments.frame.methods import EQUITUNE, EQUIZERO, LAMBDA_EQUITUNE, METHODS
from experiments.frame.rows import PROTOCOLS
from report.aggregate import Labels, Numbers
from report.artefacts.scan.tables import GROUPS, MODELS, ZERO_SHOT, result_rows
from report.cells import EN_DASH
from report.figures import Figure
from report.options import Options
from report.plots.curves import (
    Curves,
    Key,
    Look,
    curve_grid,
    curve_rows,
    draw_curves,
    method_label,
    method_lines,
)
from report.plots.panels import spread_errors
from report.plots.words import plain, plain_protocol
from report.results import Results, step_numbers
from report.spec import UNITS, Spec, seeds_along, shown
from report.tables import Table

LAST_STEP = 3000
EVERY = 200
DIGEST_STEPS = (0, 1000, 2000, 3000)
PAPERS_DATASET = "add_jump"
SHOWN = (EQUIZERO, EQUITUNE, LAMBDA_EQUITUNE)
_ADDED = f"the paper's figure has no {METHODS[LAMBDA_EQUITUNE].label}"
_BLOCK, _LINE = ("scale", "protocol", "dataset"), ("model", "method")
_PANEL, _CURVE = (*_BLOCK, "model"), ("method",)
_HEADERS = (*_PANEL, *_CURVE, "step", "mean", "spread", "n")
_NOTES = (
    "band: mean \N{PLUS-MINUS SIGN} spread",
    f"n: seeds, least{EN_DASH}most where the steps differ",
    "the paper prints Figure 10 as a picture without numbers, so none stand beside ours; it "
    "has add_jump, equitune and equizero: around_right and lambda_equitune are added here",
    "step: iterations done; the authors' plot is shifted by about one tick of 200",
)


def figure10(results: Results, options: Options) -> Figure:
    """Figure 10: test accuracy against iterations of fine-tuning, mean and spread over seeds.

    There is a column of panels per model, and a row per scale, data set and protocol with rows.
    """
    numbers = _numbers(results, options)
    ways = product(options.scales, GROUPS, PROTOCOLS, MODELS, SHOWN)
    names = ("scale", "dataset", "protocol", *_LINE)
    lines = [dict(zip(names, way, strict=True)) for way in ways]
    curves = numbers.panels(lines, _PANEL, _CURVE, "iteration")

    def title(panel: Key) -> str:
        scale, protocol, dataset, model = panel
        further = f", scale {scale}" if len(options.scales) > 1 else ""
        return f"{model}, {plain(dataset)}{further}\n{plain_protocol(protocol)}"

    look = Look(
        lines=method_lines(),
        x_label="iterations of fine-tuning",
        y_label="test accuracy (%)",
        errors=spread_errors("band", options.spread),
        notes=[_ADDED],
        y_limits=(0, 100),
    )

    return Figure(
        digest=_digest(numbers, lines, curves, options),
        headers=_HEADERS,
        rows=tuple(curve_rows(curves)),
        draw=lambda: draw_curves(curve_grid(curves, title, method_label, column=3), look),
    )


def _numbers(results: Results, options: Options) -> Numbers:
    rows = result_rows(results, options, variant="", split="test", model=MODELS)
    rows = rows[rows["last"] != ZERO_SHOT].assign(step=rows["last"])
    rows = rows[(rows["group"] == rows["dataset"].map(GROUPS)) & rows["method"].isin(SHOWN)]
    rows = rows.assign(iteration=step_numbers(rows))
    # Further on are the ends of other runs, those of Tables 10 to 12; between are trials of others.
    kept = (rows["iteration"] % EVERY == 0) | (rows["scale"] != "paper")
    shown = rows[kept & (rows["iteration"] <= LAST_STEP)]
    return Numbers(shown, (*_PANEL, *_CURVE, "iteration"), options.spread)


def _digest_steps(curves: Curves, options: Options) -> list[int]:
    """Choose the steps of the digest; a demo has its own, of which it shows thirds."""
    found = sorted({step for own in curves.values() for points in own.values() for step in points})
    if "paper" in options.scales or not found:
        return list(DIGEST_STEPS)
    last = len(found) - 1
    return sorted({found[last * third // 3] for third in range(4)})


def _digest(numbers: Numbers, lines: Sequence[Labels], curves: Curves, options: Options) -> Table:
    spec = Spec(
        name="figure10",
        title="Figure 10: test accuracy on SCAN against iterations of fine-tuning",
        block=_BLOCK,
        stub=_LINE,
        columns={
            "": (
                *(shown(f"step {s}", iteration=s) for s in _digest_steps(curves, options)),
                seeds_along(),
            )
        },
        units=UNITS,
        notes=_NOTES,
        words=("protocol", "scale", "dataset"),
    )
    # Curves of the data set that the paper does not plot are welcome, not missing.
    kept = (
        line
        for line in lines
        if line["dataset"] == PAPERS_DATASET or numbers.along("iteration", **line)
    )
    return spec.build(numbers, options, kept)
