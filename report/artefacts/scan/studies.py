"""SCAN beyond the paper: variants, larger groups, the score's length bias, fine-tuning choices."""

from __future__ import annotations

from functools import partial

from experiments.frame.methods import EQUIZERO, METHODS
from report.aggregate import Labels
from report.artefacts.scan.tables import (
    FINETUNED,
    FINETUNED_MODELS,
    GROUP_SIZES,
    GROUPS,
    MODELS,
    SPLITS,
    ZERO_SHOT,
    compared,
    finetuned_note,
    result_numbers,
)
from report.cells import Number, format_counts, format_summary
from report.options import Options
from report.results import Results, select
from report.spec import UNITS, Column, Line, Spec, seeds, shown
from report.statistics import paired_differences
from report.tables import Table

# How the table names equizero's score, and the variant of protocol=reference that has it.
SCORES = {"padded": "", "emitted": "score=emitted"}
DIFFERENCE = "emitted minus padded"
AS_THE_PROTOCOL = "as the protocol"
_LENGTHS = {
    "accuracy": "accuracy",
    "longer": "longer_than_target",
    "shorter": "shorter_than_target",
}
_SPLITS = [{"split": split} for split in SPLITS]
_OURS = (*(shown(split, split=split) for split in SPLITS), seeds(*_SPLITS))
_ARM = ("scale", "protocol", "dataset", "model")
_study = partial(Spec, block=_ARM, units=UNITS, words=("scale",))


def variants_table(results: Results, options: Options) -> Table:
    """Table of zero-shot variants; choices of fine-tuning are in `rates_table`."""
    numbers = result_numbers(results, options, step=ZERO_SHOT)
    known = dict(zip(numbers.rows["variant"], numbers.rows["departures"], strict=True))
    shown = {label for label, found in known.items() if label and not _tunes(found)}
    spec = _study(
        name="scan_variants",
        title="Variants of the methods on SCAN, zero-shot",
        block=("scale", "model", "protocol"),
        stub=("dataset", "group", "method", "variant"),
        columns={"": _OURS},
        fixed={"step": ZERO_SHOT, "metric": "accuracy"},
        keep=lambda labels: labels["variant"] in shown,
        orders={"method": ()},
        empty="no rows with a variant were found",
    )
    return spec.build(numbers, options)


def _tunes(departures: Labels) -> bool:
    return any(name.startswith("finetune.") for name in departures)


def groups_table(results: Results, options: Options) -> Table:
    """Table of accuracy against the size of the group, where one beyond the paper's was tried."""
    numbers = result_numbers(results, options, variant="", step=ZERO_SHOT, model=MODELS)
    larger = [
        arm
        for arm in numbers.labels(*_ARM, "group")
        if arm.pop("group") not in ("trivial", GROUPS.get(arm["dataset"]))
    ]
    # A group of the user's own may have no known size.
    size = Column("|G|", lambda line: str(GROUP_SIZES.get(line.labels["group"], "unknown")))
    spec = _study(
        name="scan_groups",
        title="Zero-shot accuracy on SCAN against the number |G| of group elements",
        stub=("method", "group"),
        columns={"": (size, *_OURS)},
        fixed={"step": ZERO_SHOT, "metric": "accuracy", "variant": ""},
        keep=lambda labels: {name: labels[name] for name in _ARM} in larger,
        orders={"group": [*GROUP_SIZES]},
        empty="no rows with a group beyond the paper's were found",
    )
    return spec.build(numbers, options)


def lengths_table(results: Results, options: Options) -> Table:
    """Table of the length bias of equizero's score: padded, emitted, and their difference."""
    common = {"protocol": "reference", "method": EQUIZERO, "step": ZERO_SHOT, "split": "test"}
    numbers = result_numbers(results, options, metric=[*_LENGTHS.values()], **common)
    spec = _study(
        name="scan_lengths",
        title="Length bias of equizero's score on SCAN, zero-shot",
        block=("scale", "protocol", "method"),
        stub=("dataset", "model", "score"),
        columns={"": (*(Column(name, partial(_length, name)) for name in _LENGTHS), _LENGTH_SEEDS)},
        units="Percent of test commands, mean (spread) over n seeds",
        notes=(
            "longer and shorter: commands whose output has more or fewer words than the target",
            "padded: the mean over 50 rows, where rows after the end count 1/8; "
            "emitted: the mean over the words up to the end",
            "emitted minus padded: difference in points over the seeds that have both",
            "n: seeds of accuracy/longer/shorter where they differ",
        ),
    )
    lines = [
        {"scale": scale, "dataset": data, "group": group, "model": model, "score": score} | common
        for scale in options.scales
        for data, group in GROUPS.items()
        for model in MODELS
        for score in (*SCORES, DIFFERENCE)
    ]
    return spec.build(numbers, options, lines)


def _found(name: str, line: Line) -> Number | None:
    labels, score = {**line.labels, "metric": _LENGTHS[name]}, line.labels["score"]
    if score in SCORES:
        return line.numbers.find(**labels, variant=SCORES[score])
    # Models are compared with themselves: seeds differ more than scores do.
    padded, emitted = (line.numbers.values(**labels, variant=each) for each in SCORES.values())
    return line.numbers.over(paired_differences(emitted, padded))


def _length(name: str, line: Line) -> str:
    return format_summary(_found(name, line), signed=line.labels["score"] == DIFFERENCE)


_LENGTH_SEEDS = Column("n", lambda line: format_counts([_found(name, line) for name in _LENGTHS]))


def rates_table(results: Results, options: Options) -> Table:
    """Table of fine-tuning choices, of methods that were tuned in another way than `reference`."""
    numbers = result_numbers(results, options, protocol="reference", step=FINETUNED)
    fixed = {"step": FINETUNED, "metric": "accuracy"}
    spec = _study(
        name="scan_rates",
        title="Choices of fine-tuning on SCAN",
        stub=("method", "variant"),
        columns={"": compared()},
        texts={"variant": lambda text: text or AS_THE_PROTOCOL},
        empty="no fine-tuned rows with a variant were found",
    )
    columns = (*_ARM, "method", "group", "variant")
    found = [
        labels
        for labels in spec.sorted(numbers.labels(*columns))
        if METHODS[labels["method"]].uses_group and labels["group"] == GROUPS.get(labels["dataset"])
    ]
    tried = [{**labels, "variant": ""} for labels in found if labels["variant"]]
    # The protocol's own line stands first, also where its rows are missing.
    kept = (labels for labels in (*tried, *found) if {**labels, "variant": ""} in tried)
    lines = [{**labels, **fixed} for labels in spec.sorted(kept)]
    reported = select(results.reported, artefact=tuple(FINETUNED_MODELS))
    return spec.build(numbers, options, lines, reported, lambda rows: [finetuned_note(rows)])
