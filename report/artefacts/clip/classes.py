"""The CLIP task: which classes gain over equitune, and which lose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUIZERO, METHODS
from report.artefacts.clip.common import (
    FLIP_NOTE,
    IMAGES_NOTE,
    LAMBDA,
    OURS_NOTE,
    in_own_group,
    result_rows,
)
from report.artefacts.clip.tables import (
    GROUPS,
    KEY,
    TEST_ONLY,
    block_keys,
    group_arguments,
    preset_key,
)
from report.captions import commands
from report.cells import EN_DASH, MISSING, format_number, over_seeds, span
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "clip_classes"
METRIC = "class_over_equitune"
COMPARED = (EQUIZERO, LAMBDA)
SHOWN = 5
# Decimal fractions are inexact in binary: a mean this near to zero is even.
_SLACK = 1e-9
_HEADERS = ("gain", "lose", "even", "gain most", "lose most", "n")
_NOTES = (
    "gain, lose, even: how many classes have a mean over seeds above, below and at zero",
    f"gain most, lose most: the {SHOWN} of them, or as many as there are: number of the class "
    "(points)",
    "the classes' names, in the order of their numbers from 0: facts.class_names in the record "
    "of a run's text stage",
    *(IMAGES_NOTE, FLIP_NOTE),
    f"n: seeds, least{EN_DASH}most where the classes differ",
    OURS_NOTE,
)


class Gains(NamedTuple):
    """What the classes gain over equitune: mean over seeds by class, and the number of seeds."""

    points: Mapping[int, float]
    seeds: Sequence[int]


def classes_table(results: Results, options: Options) -> Table:
    """Table of the classes that gain and lose most against equitune.

    There is one block per scale, protocol, data set and model, and one row per group and method.
    """
    rows = select(result_rows(results, options, trained=False), departure="", step="")
    rows = select(rows, metric=METRIC, method=COMPARED)
    rows = rows[in_own_group(rows)]
    found = {tuple(map(str, key)): part for key, part in rows.groupby([*KEY])}
    blocks, incomplete = [], []
    for key in block_keys(found, options):
        part = found.get(key, rows[:0])
        labels = dict(zip(KEY[:-1], key, strict=False))
        lines = tuple(line for group in _groups(key, part) for line in _lines(group, key, part))
        blocks.append(Block(labels, lines))
        if lacking := [line[0] for line in lines if MISSING in line]:
            incomplete.append(group_arguments(key, lacking))
    units = "Points of top-1 accuracy on transformed images of a class, mean over n seeds"
    return Table(
        name=NAME,
        title="Zero-shot CLIP: what single classes gain over equitune",
        stub=("group", "method"),
        groups=(ColumnGroup("", _HEADERS),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, units, with_spread=False), *_NOTES),
        commands=commands("clip_zero_shot", incomplete),
    )


def _groups(key: tuple[str, ...], rows: pd.DataFrame) -> list[str]:
    """List a block's groups: those with rows, and the preset's in its own block."""
    found = {*rows["group"]}
    return [group for group in GROUPS if group in found or key == preset_key(key[0])]


def _lines(group: str, key: tuple[str, ...], rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for method in COMPARED:
        if METHODS[method].needs_net and key[2] in TEST_ONLY:
            continue
        points, seeds = _gains(select(rows, group=group, method=method))
        # Of equals the first.
        rising = sorted(points, key=lambda number: (points[number], number))
        falling = sorted(points, key=lambda number: (-points[number], number))
        gain = [number for number in falling if points[number] > _SLACK]
        lose = [number for number in rising if points[number] < -_SLACK]
        counts = map(str, (len(gain), len(lose), len(points) - len(gain) - len(lose)))
        cells = (*counts, _most(gain, points), _most(lose, points), span(seeds))
        yield (group, method, *(cells if points else (*[MISSING] * (len(cells) - 1), "0")))


def _gains(rows: pd.DataFrame) -> Gains:
    found = {int(str(view)): over_seeds(part) for view, part in rows.groupby("view")}
    summaries = {number: summary for number, summary in found.items() if summary is not None}
    means = {number: summary.mean for number, summary in summaries.items()}
    return Gains(means, [summary.seeds for summary in summaries.values()])


def _most(numbers: Sequence[int], points: Mapping[int, float]) -> str:
    texts = [f"{number} ({format_number(points[number], True)})" for number in numbers[:SHOWN]]
    return ", ".join(texts) or EN_DASH
