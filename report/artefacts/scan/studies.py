"""SCAN beyond the paper: variants, larger groups, the score's length bias, fine-tuning choices."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from experiments.frame.methods import EQUIZERO, METHODS
from report.artefacts.scan.common import (
    FINETUNED,
    GROUP_SIZES,
    GROUPS,
    MODELS,
    ZERO_SHOT,
    at_step,
    finetuned_note,
    incomplete_scales,
    result_rows,
)
from report.artefacts.scan.tables import FINETUNED_MODELS
from report.captions import commands
from report.cells import Summary, by_seed, format_counts, format_summary, over_seeds, summarise
from report.comparison import OUR_HEADERS, PAPER_HEADERS, compared_cells, notes, our_cells
from report.options import Options
from report.results import Results, select
from report.statistics import paired_differences
from report.tables import Block, ColumnGroup, Table

LENGTH_METRICS = ("accuracy", "longer_than_target", "shorter_than_target")
# How the table names equizero's score, and the variant of protocol=reference that has it.
SCORES = {"padded": "", "emitted": "score=emitted"}
AS_THE_PROTOCOL = "as the protocol"

_LENGTH_UNITS = "Percent of test commands, mean (spread) over n seeds"
_LENGTH_NOTES = (
    "longer and shorter: commands whose output has more or fewer words than the target",
    "padded: the mean over 50 rows, where rows after the end count 1/8; "
    "emitted: the mean over the words up to the end",
    "emitted minus padded: difference in points over the seeds that have both",
    "n: seeds of accuracy/longer/shorter where they differ",
)


def variants_table(results: Results, options: Options) -> Table:
    """Table of zero-shot variants: rows of SCAN whose `variant` is not empty.

    There is one block per scale, model and protocol, and one row per data set, group, method and
    variant. Choices of fine-tuning are in `rates_table`.
    """
    rows = select(result_rows(results, options), step=ZERO_SHOT)
    tuning = rows["departures"].map(
        lambda known: any(name.startswith("finetune.") for name in known)
    )
    rows = rows[(rows["variant"] != "") & ~tuning]
    stub = ("dataset", "group", "method", "variant")
    blocks = []
    for labels, arm in _arms(rows, ("scale", "model", "protocol")):
        parts = arm.groupby(list(stub))
        lines = tuple((*names, *our_cells(cells, options)) for names, cells in parts)
        blocks.append(Block(labels, lines))
    empty = () if blocks else ("no rows with a variant were found",)
    return Table(
        name="scan_variants",
        title="Variants of the methods on SCAN, zero-shot",
        stub=stub,
        groups=(ColumnGroup("", OUR_HEADERS),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options), *empty),
        commands=commands("scan_variants", incomplete_scales(blocks, options)),
    )


def groups_table(results: Results, options: Options) -> Table:
    """Table of zero-shot accuracy against the size of the group.

    There is one block per scale, protocol, data set and model that was tried with a group beyond
    the paper's, and one row per method and group, small groups first.
    """
    rows = select(result_rows(results, options), variant="", step=ZERO_SHOT, model=MODELS)
    blocks, shown = [], [rows[:0]]
    for labels, arm in _arms(rows, ("scale", "protocol", "dataset", "model")):
        if set(arm["group"]) <= {"trivial", GROUPS.get(labels["dataset"])}:
            continue
        blocks.append(Block(labels, tuple(_group_lines(arm, options))))
        shown.append(arm)
    empty = () if blocks else ("no rows with a group beyond the paper's were found",)
    return Table(
        name="scan_groups",
        title="Zero-shot accuracy on SCAN against the number |G| of group elements",
        stub=("method", "group"),
        groups=(ColumnGroup("", ("|G|", *OUR_HEADERS)),),
        blocks=tuple(blocks),
        notes=(*notes(pd.concat(shown), blocks, options), *empty),
        commands=commands("scan_groups", incomplete_scales(blocks, options)),
    )


def _group_lines(rows: pd.DataFrame, options: Options) -> Iterator[tuple[str, ...]]:
    def order(pair: tuple[str, str]) -> tuple[float, ...]:
        return [*METHODS].index(pair[0]), GROUP_SIZES.get(pair[1], math.inf)

    pairs = [pair for pair, _ in rows.groupby(["method", "group"])]
    for method, group in sorted(pairs, key=order):
        # A group of the user's own may have no known size.
        size = str(GROUP_SIZES.get(group, "unknown"))
        cells = our_cells(select(rows, method=method, group=group), options)
        yield (method, group, size, *cells)


def lengths_table(results: Results, options: Options) -> Table:
    """Table of the length bias of equizero's score: padded against emitted.

    There is one block per scale; per data set and model it has a row for each score and one for
    their difference, seed by seed.
    """
    common = {"protocol": "reference", "method": EQUIZERO}
    rows = select(
        result_rows(results, options, LENGTH_METRICS),
        **common,
        model=MODELS,
        variant=tuple(SCORES.values()),
        split="test",
        step=ZERO_SHOT,
    )
    rows = rows[rows["group"] == rows["dataset"].map(GROUPS)]
    blocks = []
    for scale in options.scales:
        arm = select(rows, scale=scale)
        lines = [
            (dataset, model, *cells)
            for dataset in GROUPS
            for model in MODELS
            for cells in _length_lines(select(arm, dataset=dataset, model=model), options)
        ]
        blocks.append(Block({"scale": scale, **common}, tuple(lines)))
    return Table(
        name="scan_lengths",
        title="Length bias of equizero's score on SCAN, zero-shot",
        stub=("dataset", "model", "score"),
        groups=(ColumnGroup("", ("accuracy", "longer", "shorter", "n")),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, _LENGTH_UNITS), *_LENGTH_NOTES),
        commands=commands("scan_lengths", incomplete_scales(blocks, options)),
    )


def _length_lines(rows: pd.DataFrame, options: Options) -> Iterator[tuple[str, ...]]:
    of_score = {score: select(rows, variant=variant) for score, variant in SCORES.items()}
    for score, cells in of_score.items():
        ours = [over_seeds(select(cells, metric=name), options.spread) for name in LENGTH_METRICS]
        yield (score, *map(format_summary, ours), format_counts(ours))
    changes = [_difference(of_score, name, options) for name in LENGTH_METRICS]
    texts = [format_summary(change, signed=True) for change in changes]
    yield ("emitted minus padded", *texts, format_counts(changes))


def _difference(of_score: dict[str, pd.DataFrame], metric: str, options: Options) -> Summary | None:
    """Compare models with themselves: seeds differ more than scores do."""
    emitted, padded = (
        by_seed(select(of_score[score], metric=metric)) for score in ("emitted", "padded")
    )
    return summarise([*paired_differences(emitted, padded).values()], options.spread)


def rates_table(results: Results, options: Options) -> Table:
    """Table of fine-tuning choices: learning rates, weight decay, doubled steps.

    There is one block per scale, data set and model, and one row per method and variant, for the
    methods that were fine-tuned in another way than protocol `reference` does, beside the paper's.
    """
    rows = select(result_rows(results, options), protocol="reference", dataset=tuple(GROUPS))
    rows = rows[rows["group"] == rows["dataset"].map(GROUPS)]
    rows = select(rows, method=[name for name, method in METHODS.items() if method.uses_group])
    rows = pd.concat([at_step(select(rows, scale=scale), FINETUNED) for scale in options.scales])
    blocks, shown = [], [rows[:0]]
    for labels, arm in _arms(rows, ("scale", "protocol", "dataset", "model")):
        tried = arm[arm["method"].isin(arm.loc[arm["variant"] != "", "method"])]
        if len(tried):
            blocks.append(Block(labels, tuple(_rate_lines(tried, labels, results, options))))
            shown.append(tried)
    empty = () if blocks else ("no fine-tuned rows with a variant were found",)
    rows = pd.concat(shown)
    return Table(
        name="scan_rates",
        title="Choices of fine-tuning on SCAN",
        stub=("method", "variant"),
        groups=(ColumnGroup("", (*OUR_HEADERS, *PAPER_HEADERS)),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options), finetuned_note(rows), *empty),
        commands=commands("scan_rates", incomplete_scales(blocks, options)),
    )


def _rate_lines(
    rows: pd.DataFrame, labels: dict[str, str], results: Results, options: Options
) -> Iterator[tuple[str, ...]]:
    reported = select(results.reported, artefact=tuple(FINETUNED_MODELS))
    reported = select(reported, dataset=labels["dataset"], model=labels["model"])
    for method in [name for name in METHODS if name in set(rows["method"])]:
        own, paper = select(rows, method=method), select(reported, method=method)
        # The protocol's own line stands first, also where its rows are missing.
        for variant in ["", *sorted(set(own["variant"]) - {""})]:
            cells = compared_cells(
                select(own, variant=variant), paper, options, marked=labels["scale"] == "paper"
            )
            yield (method, variant or AS_THE_PROTOCOL, *cells)


def _arms(
    rows: pd.DataFrame, columns: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    for texts, arm in rows.groupby(list(columns)):
        yield dict(zip(columns, texts, strict=True)), arm
