"""SCAN: the zero-shot Tables 2, 8 and 9, and the table of our variants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from experiments.rows import METHODS, PROTOCOLS
from scripts._cells import (
    DAGGER,
    EN_DASH,
    MISSING,
    NOT_REPORTED,
    SPREAD_NOTES,
    Spread,
    Summary,
    format_reported,
    format_summary,
    outside_spread,
    over_seeds,
)
from scripts._options import Options
from scripts._results import Results, select
from scripts._rows import KEY_COLUMNS
from scripts._tables import Block, ColumnGroup, Table

ZERO_SHOT_MODELS = {"table2": "LSTM", "table8": "GRU", "table9": "RNN"}
GROUPS = {"add_jump": "verb", "around_right": "direction"}
SPLITS = ("validation", "test")
# Zero-shot: no finetuning step was taken.
NO_STEPS = ("", "0")

_UNITS = "Accuracy in percent, mean (spread) over n seeds"


def zero_shot_table(name: str, results: Results, options: Options) -> Table:
    """Build Table 2, 8 or 9: zero-shot accuracy of one recurrent model beside the paper's numbers.

    Args:
        name: `table2`, `table8` or `table9`.
        results: All rows.
        options: Scales to show and the kind of spread.

    Returns:
        One block per scale and protocol, one row per method, one column group per data set.
    """
    model = ZERO_SHOT_MODELS[name]
    reported = select(results.reported, artefact=name)
    rows = _zero_shot_rows(_accuracy_rows(results, options), model)
    blocks, commands = [], []
    for scale in options.scales:
        for protocol in PROTOCOLS:
            arm = select(rows, scale=scale, protocol=protocol)
            # A demo is another experiment: its distance from the paper says nothing.
            lines = [
                _zero_shot_line(method, arm, reported, options.spread, marked=scale == "paper")
                for method in METHODS
            ]
            blocks.append(Block({"scale": scale, "protocol": protocol}, tuple(lines)))
            if any(MISSING in line for line in lines):
                arguments = f"experiment={name} protocol={protocol} scale={scale}"
                commands.append(f"python run.py -m {arguments}")
    headers = ("group", *SPLITS, "n", *(f"paper reports, {split}" for split in SPLITS))
    return Table(
        name=name,
        title=f"Table {name.removeprefix('table')}: zero-shot accuracy of the {model} on SCAN",
        stub=("method",),
        groups=tuple(ColumnGroup(dataset, headers) for dataset in GROUPS),
        blocks=tuple(blocks),
        notes=_notes(rows, blocks, options),
        commands=tuple(commands),
    )


def variants_table(results: Results, options: Options) -> Table:
    """Build the table of our variants: rows of SCAN whose `variant` is not empty.

    Args:
        results: All rows.
        options: Scales to show and the kind of spread.

    Returns:
        One block per scale, model and protocol; one row per data set, group, method, variant and
        step.
    """
    rows = _accuracy_rows(results, options)
    rows = rows[rows["variant"] != ""]
    blocks = []
    arms = ("scale", "model", "protocol")
    stub = ("dataset", "group", "method", "variant", "step")
    for labels, arm in rows.groupby(list(arms)):
        lines = []
        for names, cells in arm.groupby(list(stub)):
            ours = _summaries(cells, options.spread)
            lines.append((*names, *map(format_summary, ours), _count(ours)))
        blocks.append(Block(dict(zip(arms, labels, strict=True)), tuple(lines)))
    missing = not blocks or any(MISSING in line for block in blocks for line in block.rows)
    empty = () if blocks else ("no rows with a variant were found",)
    scales = ",".join(options.scales)
    return Table(
        name="scan_variants",
        title="Variants of the methods on SCAN",
        stub=stub,
        groups=(ColumnGroup("", (*SPLITS, "n")),),
        blocks=tuple(blocks),
        notes=(*_notes(rows, blocks, options), *empty),
        commands=(f"python run.py -m experiment=scan_variants scale={scales}",) if missing else (),
    )


def _accuracy_rows(results: Results, options: Options) -> pd.DataFrame:
    return select(
        results.ours, task="scan", metric="accuracy", view="", split=SPLITS, scale=options.scales
    )


def _zero_shot_rows(accuracy: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = select(accuracy, model=model, variant="", step=NO_STEPS, dataset=tuple(GROUPS))
    expected = rows["dataset"].map(GROUPS).where(rows["method"] != "pretrained", "trivial")
    return rows[rows["group"] == expected]


def _zero_shot_line(
    method: str, arm: pd.DataFrame, reported: pd.DataFrame, spread: Spread, marked: bool
) -> tuple[str, ...]:
    line = [method]
    for dataset, group in GROUPS.items():
        paper = select(reported, method=method, dataset=dataset)
        ours = _summaries(select(arm, method=method, dataset=dataset), spread)
        line.append("trivial" if method == "pretrained" else group)
        for split, summary in zip(SPLITS, ours, strict=True):
            far = marked and _is_far(summary, select(paper, split=split))
            line.append(format_summary(summary) + (DAGGER if far else ""))
        line.append(_count(ours))
        line += [_reported_cell(select(paper, split=split)) for split in SPLITS]
    return tuple(line)


def _summaries(cells: pd.DataFrame, spread: Spread) -> list[Summary | None]:
    return [over_seeds(select(cells, split=split), spread) for split in SPLITS]


def _is_far(ours: Summary | None, paper: pd.DataFrame) -> bool:
    if ours is None or paper.empty:
        return False
    return outside_spread(ours, float(paper["value"].iloc[0]), float(paper["std"].iloc[0]))


def _count(ours: Iterable[Summary | None]) -> str:
    counts = [0 if summary is None else summary.seeds for summary in ours]
    return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))


def _reported_cell(paper: pd.DataFrame) -> str:
    if paper.empty:
        return NOT_REPORTED
    return format_reported(float(paper["value"].iloc[0]), float(paper["std"].iloc[0]))


def _notes(rows: pd.DataFrame, blocks: Sequence[Block], options: Options) -> tuple[str, ...]:
    cell = [column for column in KEY_COLUMNS if column != "seed"]
    seeds = rows.groupby(cell)["seed"].count()
    demo = seeds[seeds.index.get_level_values("scale") == "demo"]
    notes = [f"{_UNITS}; {SPREAD_NOTES[options.spread]}"]
    if (seeds == 1).any():
        notes.append(f"({EN_DASH}): n = 1, one seed has no spread")
    if "demo" in options.scales:
        counts = ", ".join(f"n = {count}" for count in sorted(set(demo))) or "no rows"
        notes.append(
            f"scale = demo, {counts}: fewer seeds or iterations than the paper's, "
            f"so none of its cells is marked"
        )
    if any(DAGGER in text for block in blocks for line in block.rows for text in line):
        notes.append(
            f"{DAGGER} our mean and the paper's differ by more than the paper's spread plus ours "
            f"(zero where n = 1); a fact about the two numbers, not a verdict"
        )
    fresh = int((rows["origin"] != "measured").sum())
    if fresh:
        replaced = int((rows["origin"] == "replaced").sum())
        notes.append(
            f"{fresh} row{'s' * (fresh != 1)} from fresh runs, "
            f"{replaced} of them in place of a different committed value"
        )
    return tuple(notes)
