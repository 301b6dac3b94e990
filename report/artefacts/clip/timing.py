"""The CLIP task: Table 1, time and memory of the methods side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO
from report.artefacts.clip.common import LAMBDA, MODELS, in_order, reported_rows
from report.captions import commands
from report.cells import EN_DASH, MISSING, NOT_REPORTED, Interval, format_interval, format_number
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "table1"
# The paper's.
TIMED = (MODELS[0], MODELS[2])
SECOND = "second encoder"
WAYS = ((EQUITUNE, ""), (EQUIZERO, ""), (LAMBDA, ""), (LAMBDA, SECOND))
SECONDS, RATIO, MEMORY = "inference_seconds", "relative_seconds", "peak_memory_mib"
_PAPERS = {SECONDS: "inference_seconds_a100_batch32", MEMORY: "gpu_memory_mb_a100_batch32"}
_UNITS = "Seconds for so many images, and memory in MiB"
_NOTES = (
    "over equitune: median of the rounds' ratios, and their least and greatest; the methods take "
    "turns in one process",
    "second encoder: lambda reads a second, frozen copy of the encoder, as in the authors' code; "
    "their lambda_equitune is this one",
    "memory: on a GPU the most that PyTorch had allocated, on a CPU the most of the whole process",
    "the paper: 10000 images in batches of 32 on one A100; its memory in MB",
    "weights are drawn at random: they do not change how long anything takes",
)


def table1(results: Results, options: Options) -> Table:
    """Table 1: one block per machine, one row per model and method."""
    rows = select(results.ours, task="clip", scale=options.scales, metric=_METRICS)
    rows = select(rows, group="rot90", dataset="cifar100")
    paper = reported_rows(results, NAME)
    blocks = []
    for machine in sorted(set(rows["view"])) or ["none"]:
        inside = select(rows, view=machine)
        models = in_order({*TIMED, *inside["model"]})
        lines = [
            _line(model, way, select(inside, model=model), select(paper, model=model))
            for model in models
            for way in WAYS
        ]
        blocks.append(Block({"machine": machine}, tuple(lines)))
    lacking = any(MISSING in line for block in blocks for line in block.rows)
    return Table(
        name=NAME,
        title="Table 1: time and memory of the methods with four views",
        stub=("model", "method", "variant"),
        groups=(
            ColumnGroup("ours", ("images", "seconds", "over equitune", "memory")),
            ColumnGroup("paper reports", ("seconds", "over equitune", "memory")),
        ),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, _UNITS, with_spread=False), *_NOTES),
        commands=commands(NAME, [""] if lacking else []),
    )


_METRICS = (SECONDS, RATIO, f"{RATIO}_low", f"{RATIO}_high", MEMORY, "images")


def _line(
    model: str, way: tuple[str, str], rows: pd.DataFrame, paper: pd.DataFrame
) -> tuple[str, ...]:
    method, variant = way
    own = select(rows, method=method, variant=variant)
    found = _numbers(own)
    ratio = MISSING
    if RATIO in found:
        ends = Interval(found[f"{RATIO}_low"], found[f"{RATIO}_high"])
        ratio = f"{format_number(found[RATIO], decimals=3)} {format_interval(ends, 3)}"
    # The authors' lambda runs a second encoder.
    theirs = _numbers(select(paper, method=method)) if variant or method != LAMBDA else {}
    base = _numbers(select(paper, method=EQUITUNE)).get(_PAPERS[SECONDS])
    seconds = theirs.get(_PAPERS[SECONDS])
    return (
        model,
        method,
        variant or EN_DASH,
        _whole(found.get("images")),
        format_number(found[SECONDS], decimals=2) if SECONDS in found else MISSING,
        ratio,
        _whole(found.get(MEMORY)),
        NOT_REPORTED if seconds is None else format_number(seconds, decimals=2),
        format_number(seconds / base, decimals=3) if seconds and base else NOT_REPORTED,
        _whole(theirs.get(_PAPERS[MEMORY]), NOT_REPORTED),
    )


def _numbers(rows: pd.DataFrame) -> Mapping[str, float]:
    return {str(k): float(v) for k, v in zip(rows["metric"], rows["value"], strict=True)}


def _whole(number: float | None, otherwise: str = MISSING) -> str:
    return otherwise if number is None else format_number(number, decimals=0)
