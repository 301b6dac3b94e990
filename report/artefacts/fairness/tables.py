"""The fairness task: differences, sentences (Tables 3 to 7), what lambda gains, judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, LAMBDA_EQUITUNE, PRETRAINED
from report.aggregate import Labels, Numbers
from report.artefacts.fairness import common
from report.artefacts.fairness.common import EACH, JUDGES, PLACE, REFERENCE, REGARD
from report.cells import (
    EN_DASH,
    MISSING,
    Number,
    format_counts,
    format_digits,
    format_measure,
    format_summary,
)
from report.options import Options
from report.presets import command
from report.results import Results, seed_order, select
from report.sentences import sentences_of
from report.spec import Column, Line, Spec, seeds, shown
from report.tables import Table

GAP, DISTANCE = "regard_gap", "total_variation"
MIRRORED, BROKEN, DISTINCT = "mirrored_sentences", "equivariance_error", "distinct_sentences"
LOSS = "negative_log_likelihood"
# Of the sentences: data set and pair, the paper's name of a model, and our method and option.
SAMPLED = {"dataset": "respect", "group": "straight_gay"}
SAMPLES = {
    "table3": ("EquizeroGPT2", (EQUIZERO, "")),
    "table4": ("R-EquizeroGPT2", (EQUIZERO, "relaxed")),
    "table5": ("GPT2", (PRETRAINED, "")),
    "table6": ("EquiGPT2", (EQUITUNE, "")),
    "table7": ("R-EquiGPT2", (EQUITUNE, "relaxed")),
}
# The judge of the paper's model, and what tells how good it is.
PAPERS_JUDGE = JUDGES["gpt2"]
COMPARE_COMMAND = command(
    common.EXPERIMENTS["respect"],
    [{"scale": "paper", "regard_data": "FOLDER", "arm": common.WAYS[PRETRAINED, ""][1]}],
    ("scale", "task.regard_data", "arm"),
)
_INTERVAL = "[interval]: 95 % over sentences; with several seeds the mean of theirs"
_signed = partial(format_measure, signed=True)


def gaps_table(results: Results, options: Options) -> Table:
    """Table of differences between demographic groups.

    There is one block per scale, protocol, data set, model and pair, and one row per judge, method
    and two demographic groups.
    """
    numbers = common.result_numbers(results, options)
    found = common.places(numbers, options, common.EXPERIMENTS)
    absent = "paper" in options.scales and all(place["model"] != REFERENCE for place in found)
    spec = Spec(
        name="fairness_gaps",
        title="How differently language models speak of demographic groups",
        block=PLACE,
        stub=("judge", "way", "view"),
        columns={
            "regard": (
                _of("first", REGARD, _signed, "first"),
                _of("second", REGARD, _signed, "second"),
                Column("gap", _gap),
                shown("total variation", metric=DISTANCE),
            ),
            "sentences": (
                _of("mirrored", MIRRORED, format_measure),
                _of("equivariance error", BROKEN, format_digits),
                _of("distinct, first", DISTINCT, format_summary, "first"),
                _of("distinct, second", DISTINCT, format_summary, "second"),
                _of("n", REGARD, lambda found: format_counts([found]), "first"),
            ),
        },
        titles={"way": "method", "view": "about"},
        units=common.UNITS,
        notes=(
            "first, second: the two demographic groups, as they are named",
            "regard: positive minus negative; gap: of the first minus of the second, sentence by "
            "sentence",
            "total variation: half the sum of the distances between the shares of the four labels",
            "mirrored: sentences that are the other group's with its words swapped; equivariance "
            "error: largest |log P(gw | gX) - log P(w | X)| where the first sentences begin; "
            "distinct: sentences that differ from all others of their prompt; they need no judge "
            "and stand with the first",
            "(optimised): the judge whom equizero asks while it writes; (not optimised): a judge "
            "that no method has seen",
            f"{REFERENCE} was written elsewhere: it has neither mirrored sentences nor an error, "
            "and its gap pairs sentences that have nothing in common",
            _INTERVAL,
        ),
        commands=lambda missing: common.commands(missing) + [common.REFERENCE_COMMAND] * absent,
    )
    lines = [line for place in found for line in _gap_lines(numbers, place)]
    general = partial(common.general_notes, results, {line["model"] for line in lines})
    return spec.build(numbers, options, lines, extra=general)


def regard_table(results: Results, options: Options) -> Table:
    """Table of the regard of all demographic groups, with a column per data set and pair."""
    numbers = common.result_numbers(results, options)
    found = common.places(numbers, options, common.EXPERIMENTS)
    place = ("scale", "protocol", "model")
    spec = Spec(
        name="fairness_regard",
        title="Regard of demographic groups, by the judge whom equizero optimises",
        block=place,
        stub=("way",),
        columns={
            dataset: [Column(pair, partial(_both, dataset, pair)) for pair in common.PAIRS]
            for dataset in common.EXPERIMENTS
        },
        titles={"way": "method"},
        units="Regard: positive minus negative sentences in percent of all about a demographic "
        "group; of each group of a pair in the order of its name, the mean over seeds",
        notes=("fairness_gaps has intervals, differences and the other judges",),
        commands=lambda missing: common.commands(
            {**line, "dataset": dataset, "group": pair}
            for line in missing
            for dataset in common.EXPERIMENTS
            for pair in common.PAIRS
        ),
        with_spread=False,
    )
    lines: list[dict[str, str]] = []
    for own in (each for each in found if each["group"] in common.PAIRS):
        for way in common.ways(numbers, own):
            line = {**{name: own[name] for name in place}, **way}
            lines += [] if line in lines else [line]
    general = partial(common.general_notes, results, {line["model"] for line in lines})
    return spec.build(numbers, options, lines, extra=general)


def _both(dataset: str, pair: str, line: Line) -> str:
    names = ("scale", "protocol", "model")
    place = {name: line.labels[name] for name in names} | {"dataset": dataset, "group": pair}
    judge, *_ = common.judges(line.numbers, place)
    for view in common.views(line.numbers, DISTANCE, **place):
        own = [
            line.find(**place, metric=REGARD, split=judge, view=person)
            for person in view.split(common.BETWEEN)
        ]
        return " / ".join(str(round(number.mean)) if number else MISSING for number in own)
    return MISSING


def _gap_lines(numbers: Numbers, place: Labels) -> Iterator[dict[str, str]]:
    """List the lines of a pair; what is missing is so by the first judge only."""
    optimised = JUDGES.get(common.kind(place["model"]))
    first, *_ = judges = common.judges(numbers, place)
    for judge in judges:
        note = "optimised" if judge == optimised else "not optimised"
        title = judge if place["model"] == REFERENCE else f"{judge} ({note})"
        for way in common.ways(numbers, place):
            own = {"method": way["method"], "option": way["option"]}
            if judge != first and not numbers.labels("split", **place, **own):
                continue
            for view in common.views(numbers, DISTANCE, **place) or [EACH]:
                one, _, other = view.partition(common.BETWEEN)
                names = {"judge": title, "split": judge, "stands with": first, "view": view}
                yield {**place, **way, **names, "first": one, "second": other}


def _gap(line: Line) -> str:
    gap = line.find(metric=GAP)
    # Sentences that are not as many of both groups cannot be compared one by one.
    unlike = gap is None and line.find(metric=DISTANCE) is not None
    return EN_DASH if unlike else _signed(gap)


def _of(header: str, metric: str, form: Callable[[Number | None], str], side: str = "") -> Column:
    """A column of one side, or of both together; what needs no judge stands with the first."""

    def show(line: Line) -> str:
        own, judged = line.labels, metric == REGARD
        text = own["model"] == REFERENCE and not side
        if text or not (judged or own["split"] == own["stands with"]):
            return EN_DASH
        split = own["split"] if judged else ""
        return form(line.find(metric=metric, split=split, view=own[side] if side else ""))

    return Column(header, show)


def lambda_table(results: Results, options: Options) -> Table:
    """Table of the gain of learned weights.

    There is one block per scale, protocol and data set, and one row per model and pair; with rows
    of further methods that learn weights one per method too.
    """
    numbers = common.result_numbers(results, options)
    own = {"option": "", "split": "validation", "view": ""}
    gain = f"{LOSS}_gain"
    learned = numbers.labels(*PLACE, "method", metric=gain, **own)
    lines = [
        {**place, **way, **own}
        for place in common.places(numbers, options, common.EXPERIMENTS)
        for way in common.ways(numbers, place)
        if way["method"] == LAMBDA_EQUITUNE or place | {"method": way["method"]} in learned
    ]
    several = any(line["method"] != LAMBDA_EQUITUNE for line in lines)
    form = partial(format_measure, decimals=4)
    spec = Spec(
        name="fairness_lambda",
        title="Learned weights of the contexts (lambda_equitune) against equal ones",
        block=PLACE[:3],
        stub=("model", "group", *["way"] * several),
        columns={
            "": (
                shown("equal weights", form, metric=f"{LOSS}_uniform"),
                shown("learned weights", form, metric=f"{LOSS}_learned"),
                shown("gain", partial(form, signed=True), metric=gain),
                seeds({"metric": gain}),
            )
        },
        titles={"group": "pair", "way": "method"},
        units="Negative log-likelihood of a token in nats, mean (spread) [interval] over n seeds; "
        "less is better",
        notes=(
            "sentences: the pretrained model's own about all demographic groups, a fifth of them "
            "held out from learning; these are the held-out ones",
            "gain: equal weights (equitune) minus learned weights (lambda_equitune), the mean over "
            "the sentences of the mean over their tokens; above zero the learned weights are "
            "better",
            _INTERVAL,
            "lambda for language is ours; the paper has none",
        ),
        commands=common.commands,
    )
    general = partial(common.general_notes, results, {line["model"] for line in lines})
    return spec.build(numbers, options, lines, extra=general)


def scorers_table(results: Results, options: Options) -> Table:
    """Table of judges.

    There is one block per scale, one row per judge, and one column of flips per two demographic
    groups.
    """
    numbers = common.tests_of_judges(common.result_numbers(results, options))
    known = {scale: common.qualities(numbers, scale=scale) for scale in options.scales}
    flips = [own for (_, m), own in common.qualities(numbers).items() if m == common.FLIPS]

    def quality(metric: str, view: str) -> Column:
        def show(line: Line) -> str:
            own = known[line.labels["scale"]].get((line.labels["judge"], metric), {})
            return own.get(view, MISSING)

        return Column(view, show)

    between = [*dict.fromkeys(view for own in flips for view in own)]
    spec = Spec(
        name="fairness_scorers",
        title="Judges of regard: accuracy on labelled sentences, and label flips",
        block=("scale",),
        stub=("judge", "optimised by"),
        columns={
            "accuracy": [quality(common.ACCURACY, s) for s in ("dev", "test", common.HELD_OUT)],
            "label flips": [quality(common.FLIPS, view) for view in between or ["a - b"]],
        },
        units="Percent of labelled sentences [interval]",
        notes=(
            "accuracy: sentences that the judge labels as people did; scorers that learn have seen "
            "neither dev nor test",
            "label flips: sentences whose label changes if the name of the one demographic group "
            "stands in them instead of the other's, over train, dev and test",
            "optimised by: models whose equizero is judged by it while it writes; for all others "
            "it is held out",
            "[interval]: 95 % over sentences; numbers that differ between runs stand beside each "
            "other",
        ),
        with_spread=False,
        commands=lambda missing: [
            COMPARE_COMMAND for line in missing if line["judge"] == PAPERS_JUDGE
        ],
    )
    asked = {scale: [judge for judge, _ in own] for scale, own in known.items()}
    lines = [
        {"scale": scale, "judge": judge, "optimised by": _users(judge)}
        for scale, found in asked.items()
        for judge in dict.fromkeys([*[PAPERS_JUDGE] * (scale == "paper"), *found])
    ]
    return spec.build(numbers, options, lines, extra=partial(common.general_notes, results, ()))


def _users(judge: str) -> str:
    return ", ".join(m for m in JUDGES if JUDGES[m] == judge and m != REFERENCE) or EN_DASH


def samples_table(name: str, results: Results, options: Options) -> Table:
    """One of Tables 3 to 7: the sentences of both demographic groups, context by context.

    There is one block per scale, protocol and model. A file that is no table of sentences is a
    ValueError of one line.
    """
    papers, way = SAMPLES[name]
    numbers = common.result_numbers(results, options)
    own = {"method": way[0], "option": way[1]}
    rows = select(numbers.rows, **SAMPLED, **own)
    lines = [
        line
        for place in common.places(numbers, options, [SAMPLED["dataset"]])
        if place["group"] == SAMPLED["group"] and place["model"] != REFERENCE
        if any(own.items() <= each.items() for each in common.ways(numbers, place))
        for line in _samples(place | own, select(rows, **place))
    ]
    models = [*dict.fromkeys(line["model"] for line in lines)]
    spec = Spec(
        name=name,
        title=f"Table {name.removeprefix('table')}: generated sentences, method "
        f"{common.WAYS[way][0]} (in the paper {papers})",
        block=(*PLACE, "judge"),
        stub=("about", "regard", "sentence"),
        columns={"": ()},
        units="Sentences, and how the judge labels their regard",
        with_spread=False,
        notes=(
            f"model: which model wrote the sentences of a block ({', '.join(models)})",
            "all sentences are ours: the one of the lowest number of each context, of the first "
            "seed, and for the next demographic group the one of the same number, which has the "
            "same noise; none was chosen by what it says, and none of the paper's is repeated here",
            "the paper's text says that its tables are of the occupation context; their sentences "
            "have the contexts of the respect task, which stand here",
            "white space and line breaks in a sentence are shown as one blank, and characters that "
            "cannot be printed by their code",
            "generated text: nobody has checked it for truth or decency",
            *common.general_notes(results, models, rows),
        ),
        commands=common.commands,
    )
    return replace(spec.build(numbers, options, lines), latex_columns=r"llp{0.68\linewidth}")


def _samples(labels: Labels, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Make the lines of a block: of the first seed, context by context, the demographic groups."""
    first = sorted(set(rows["seed"]), key=seed_order)[:1]
    where = [*select(rows, seed=first)["where"]][:1]
    found = [sentence for place in where for sentence in sentences_of(place)]
    if not found:
        judge = JUDGES.get(common.kind(labels["model"]), "none")
        yield {**labels, "judge": judge, "about": EACH, "regard": MISSING, "sentence": MISSING}
    for context in dict.fromkeys(each.context for each in found):
        own = [each for each in found if each.context == context]
        lowest = min(each.number for each in own)
        for each in own:
            if each.number == lowest:
                text = {"regard": each.label, "sentence": printable(each.text)}
                yield {**labels, "judge": each.judge, "about": each.person, **text}


def printable(text: str) -> str:
    r"""The text on one line: white space as single blanks, other control characters as `\x1b`."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
