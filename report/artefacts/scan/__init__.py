"""Tables and figures of task scan."""

from __future__ import annotations

from functools import partial

from report.artefacts.entry import Entry
from report.artefacts.scan.figures import figure10
from report.artefacts.scan.studies import groups_table, lengths_table, rates_table, variants_table
from report.artefacts.scan.tables import (
    FINETUNED_MODELS,
    ZERO_SHOT_MODELS,
    finetuned_table,
    zero_shot_table,
)

_WITH_LENGTHS = ("lengths", "zero_shot")
_FINETUNED = ("finetuned", "group_models", "zero_shot")
_MORE_SEEDS = ("more_seeds", "more_seeds_paper")


TITLE = "SCAN: compositional generalisation"
ARTEFACTS: dict[str, Entry] = {
    **{
        name: Entry("scan", partial(zero_shot_table, name), (*files, *_MORE_SEEDS))
        for name, files in zip(
            ZERO_SHOT_MODELS,
            (("zero_shot", "methods"), _WITH_LENGTHS, _WITH_LENGTHS),
            strict=True,
        )
    },
    **{
        name: Entry("scan", partial(finetuned_table, name), (*_FINETUNED, *more, *_MORE_SEEDS))
        for name, more in zip(FINETUNED_MODELS, (("methods",), (), ()), strict=True)
    },
    "figure10": Entry("scan", figure10, ("few_shot",)),
    "scan_variants": Entry("scan", variants_table, _WITH_LENGTHS),
    "scan_groups": Entry("scan", groups_table, ("groups", "zero_shot", "more_seeds")),
    "scan_lengths": Entry("scan", lengths_table, (*_WITH_LENGTHS, "more_seeds")),
    "scan_rates": Entry("scan", rates_table, ("finetuned", "rates")),
}
