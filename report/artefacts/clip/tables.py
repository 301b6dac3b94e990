"""The CLIP task: every method without fine-tuning, with intervals and calibration, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import METHODS, PAPERS, Kind, own_group
from report.artefacts.clip.common import (
    ACCURACY,
    FLIP_NOTE,
    IMAGES_NOTE,
    INTERVAL_NOTE,
    OURS,
    OURS_NOTE,
    PROTOCOL,
    Preset,
    arguments,
    in_order,
    in_own_group,
    result_rows,
)
from report.captions import commands
from report.cells import EN_DASH, MISSING, Measure, format_measure, format_summary, measure, span
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

NAME = "clip_zero_shot"
PRESET = Preset((OURS,), seeds="0,1,2")
GROUPS = ("rot90", "rot180", "mirror", "dihedral")
# Data sets without training images: nothing that lambda could be learned from.
TEST_ONLY = ("imagenet_v2",)
KEY = ("scale", "protocol", "dataset", "model", "departure")
OVER, TOP5, HIGHEST = "over_equitune", "top5_accuracy", "lambda_highest_upright"
CALIBRATION, BROKEN = "calibration_error", "equivariance_error"
_METRICS = (
    *(f"{name}{end}" for name in (ACCURACY, OVER, TOP5, HIGHEST) for end in ("", "_low", "_high")),
    *(CALIBRATION, BROKEN),
)
_COLUMNS = (
    ColumnGroup("top-1", ("upright", "transformed", "over equitune", "n")),
    ColumnGroup(
        "further",
        ("top-5", "calibration error", "equivariance error", "lambda highest upright"),
    ),
)
_UNITS = "Accuracy in percent, mean (spread) [interval] over n seeds"
_NOTES = (
    "transformed: test images after a transform of the group; upright: as they are",
    *(IMAGES_NOTE, FLIP_NOTE, INTERVAL_NOTE),
    "over equitune: difference in points on the same transformed images; pretrained, which has no "
    "group, is compared with equitune for the group of the transforms",
    "top-5, calibration error: of transformed images; the calibration error is the expected one, "
    "in percent, over 15 bins of confidence",
    "equivariance error: largest change of a class's score under an element of the group (for "
    "pretrained of the transforms), relative to the largest score",
    "lambda highest upright: percent of upright images of which lambda is highest for the view "
    "that is not transformed",
    f"n: seeds, least{EN_DASH}most where the columns differ",
    "variant: departs from the protocol, or has other weights",
    OURS_NOTE,
)


class Way(NamedTuple):
    """A method, with what it averages over and what the images have had."""

    transform: str
    group: str
    method: str

    @property
    def is_own(self) -> bool:
        """Whether the transforms are those of the group; pretrained has none of its own."""
        return self.group == own_group(self.method, self.transform)


def own_ways(transform: str, dataset: str) -> list[Way]:
    """What is compared on the transforms of a group: each method with that group."""
    return [
        Way(transform, own_group(method, transform), method)
        for method in PAPERS
        if not METHODS[method].needs_net or dataset not in TEST_ONLY
    ]


def zero_shot_table(results: Results, options: Options) -> Table:
    """Table of CLIP models that are not fine-tuned.

    There is one block per scale, protocol, data set, model and variant, and one row per transform,
    group and method.
    """
    rows = select(result_rows(results, options, trained=False), step="", view="", metric=_METRICS)
    found = {tuple(map(str, key)): part for key, part in rows.groupby([*KEY])}
    blocks, incomplete = [], []
    for key in block_keys(found, options):
        labels = dict(zip((*KEY[:-1], "variant"), (*key[:-1], key[-1] or "none"), strict=True))
        part = found.get(key, rows[:0])
        lines = {way: _line(way, part, options) for way in _ways(key, part)}
        blocks.append(Block(labels, tuple(lines.values())))
        lacking = [way.transform for way, line in lines.items() if way.is_own and MISSING in line]
        if lacking and not key[-1]:
            incomplete.append(group_arguments(key, lacking))
    return Table(
        name=NAME,
        title="Zero-shot CLIP on transformed images",
        stub=("transform", "group", "method"),
        groups=_COLUMNS,
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, _UNITS), *_NOTES),
        commands=commands(NAME, incomplete),
    )


def preset_key(scale: str) -> tuple[str, ...]:
    """The `KEY` of the block that the preset fills."""
    return (scale, PROTOCOL, PRESET.data(scale), PRESET.models[0], "")


def block_keys(found: Iterable[tuple[str, ...]], options: Options) -> Iterator[tuple[str, ...]]:
    """The keys of blocks with rows and of the preset's, by scale, models as in `in_order`."""
    for scale in options.scales:
        keys = {key for key in found if key[0] == scale} | {preset_key(scale)}
        models = in_order(key[3] for key in keys)
        yield from sorted(keys, key=lambda key: (*key[:3], models.index(key[3]), key[4:]))


def group_arguments(key: tuple[str, ...], groups: Iterable[str]) -> str:
    """What the command of a block has beside the preset, for the groups with missing cells."""
    words = arguments(PRESET, key[0], key[1], key[2], [key[3]])
    chosen = [group for group in GROUPS if group in set(groups)]
    words += [f"group={','.join(chosen)}"] * (len(chosen) != len(GROUPS))
    return " ".join(words)


def _ways(key: tuple[str, ...], rows: pd.DataFrame) -> list[Way]:
    """List a block's lines; all methods are missing on a transform that one of them has seen.

    The preset's block has all of its groups. Nobody but its author knows how to complete a variant.
    """
    shown = select(rows, metric=ACCURACY)
    shown = shown[shown["transform"] != "none"]
    columns = (shown[name] for name in Way._fields)
    found = dict.fromkeys(Way(*names) for names in zip(*columns, strict=True))
    own = in_own_group(shown)
    seen = GROUPS if key == preset_key(key[0]) else {*shown[own]["transform"]}
    ways = [way for group in GROUPS if group in seen for way in own_ways(group, key[2])]
    kept = [way for way in ways if way in found or not key[-1]]
    return [*kept, *sorted(set(found) - set(kept))]


def _line(way: Way, rows: pd.DataFrame, options: Options) -> tuple[str, ...]:
    own = select(rows, group=way.group, method=way.method)

    def find(metric: str, transform: str) -> Measure | None:
        return measure(select(own, transform=transform), metric, options)

    upright, accuracy = find(ACCURACY, "none"), find(ACCURACY, way.transform)
    over = find(OVER, way.transform)
    highest = find(HIGHEST, way.transform)
    broken = find(BROKEN, way.transform)
    return (
        *way,
        _plain(upright),
        format_measure(accuracy),
        EN_DASH if METHODS[way.method].kind is Kind.MEAN else format_measure(over, signed=True),
        span(number.summary.seeds if number else 0 for number in (upright, accuracy)),
        _plain(find(TOP5, way.transform)),
        _plain(find(CALIBRATION, way.transform)),
        MISSING if broken is None else f"{broken.summary.mean:.2g}",
        _plain(highest) if METHODS[way.method].needs_net else EN_DASH,
    )


def _plain(number: Measure | None) -> str:
    return format_summary(number and number.summary)
