"""The CNN task beyond the paper: larger groups, and short runs that single out one choice."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from report.artefacts.cnn.common import ACCURACY, IMAGES_NOTE
from report.cells import EN_DASH, format_measure, measure, span
from report.notes import notes
from report.options import Options
from report.results import Results, option, select
from report.tables import Block, ColumnGroup, Table

NAME = "cnn_studies"
# Shown elsewhere.
_GROUPS = ("trivial", "rot90")
_REDUCED = "max_images"
_BLOCK = ("scale", "protocol", "dataset", "model")
_LINE = ("group", "method", "variant")
_HEADERS = ("upright", "mean over turns", "over equitune", "n")
_RUN = "python run.py -m task=cnn scale=paper dataset=cifar10"
_COMMANDS = {
    "groups": f"{_RUN} task.training=none method=equitune,equizero group=mirror,dihedral",
    "reduced": f"{_RUN} task.max_images=2000 task.probe.epochs=2 task.probe.learning_rate=1e-2 "
    "task.batch_norm=frozen,train method=equitune,equizero task.loss=entropy",
}
_NOTES = (
    IMAGES_NOTE,
    "[interval]: 95 % over images",
    "over equitune: difference in points on the same images",
    "a variant with max_images is a short run on so many images, to be compared with another such "
    "run alone",
    f"n: seeds, least{EN_DASH}most where the columns differ",
)


def studies_table(results: Results, options: Options) -> Table:
    """Table of rows that no figure of the paper asks for.

    There is one block per scale, protocol, data set and model, and one row per group, method and
    variant.
    """
    ours = select(results.ours, task="cnn", scale=options.scales, step="", view="")
    reduced = option(ours, _REDUCED).notna()
    larger = ~ours["group"].isin(_GROUPS)
    rows = ours[reduced | larger]
    blocks = []
    for key, part in rows.groupby([*_BLOCK]):
        lines = tuple(_lines(part, options))
        blocks.append(Block(dict(zip(_BLOCK, map(str, key), strict=True)), lines))
    there = {"groups": larger.any(), "reduced": reduced.any()}
    wanted = _COMMANDS if "paper" in options.scales else {}
    return Table(
        name=NAME,
        title="Pretrained image classifiers: larger groups, and short runs with one choice changed",
        stub=_LINE,
        groups=(ColumnGroup("", _HEADERS),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, "Top-1 accuracy in percent"), *_NOTES),
        commands=tuple(command for study, command in wanted.items() if not there[study]),
    )


def _lines(rows: pd.DataFrame, options: Options) -> Iterator[tuple[str, ...]]:
    for key, part in rows.groupby([*_LINE]):
        turned = select(part, transform="rot90")
        found = (
            measure(select(part, transform="none"), ACCURACY, options),
            measure(turned, ACCURACY, options),
            measure(turned, "over_equitune", options),
        )
        cells = (format_measure(each) if each else EN_DASH for each in found[:2])
        difference = format_measure(found[2], signed=True) if found[2] else EN_DASH
        seeds = span(each.summary.seeds for each in found if each)
        yield (*map(str, key), *cells, difference, seeds or EN_DASH)
