"""What the fairness task's tables and figures share: names, which rows count, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import pandas as pd

from experiments.frame.methods import (
    EQUITUNE,
    EQUIZERO,
    LAMBDA_EQUITUNE,
    METHODS,
    PAPERS,
    PRETRAINED,
)
from experiments.frame.rows import PROTOCOLS
from report.aggregate import Labels, Numbers
from report.cells import EN_DASH, format_estimate
from report.options import Options
from report.presets import axes, command
from report.results import Results, departing, option, select

# Data sets, and the preset that runs each.
EXPERIMENTS = {axes(preset)["dataset"][0]: preset for preset in ("figure3", "figure9")}
PAIRS = axes("figure3")["group"]
# The presets' protocol; the authors' code, which is the other, has no equizero.
PROTOCOL = "paper"
REFERENCE = "gpt2_sentences"
# Models in the order of blocks, and who labels their sentences first: whom equizero optimises.
JUDGES = {
    **{"gpt2": "regardv3", "smollm2": "minilm", "causal_lm": "regardv3", "PlantedGPT2": "words"},
    REFERENCE: "minilm",
}
TITLES = {
    **{"gpt2": "GPT-2 small", "smollm2": "SmolLM2-135M-Instruct", REFERENCE: "GPT-2 text"},
    "PlantedGPT2": "PlantedGPT2 (synthetic bias)",
}
# The presets' model: without rows it is missing.
_EXPECTED = {"paper": axes("figure3")["model"][0], "demo": "PlantedGPT2"}
# Those whose judges learn from labelled sentences that a command must name.
_WITH_DATA = ("smollm2", "causal_lm")
_MODEL_NOTES = {
    "smollm2": "smollm2: SmolLM2-135M-Instruct with 4-bit weights, which is no model of the paper "
    "and stands in place of GPT-2 small",
    "causal_lm": "causal_lm: the model that is named after it, in place of the paper's GPT-2 small",
    "PlantedGPT2": "PlantedGPT2: a small network, trained here on sentences from templates in "
    "which some demographic groups are spoken ill of more often; its bias is synthetic and says "
    "nothing about GPT-2 or any other real model",
    REFERENCE: f"{REFERENCE}: real text of GPT-2 small, which others had it write and published; "
    "the prompts, the lengths and the sampling are theirs and not the paper's",
}
# Method and option: name, with {} for the number of demographic groups, and arm of the presets. The
# paper's five, in its order, and ours.
WAYS = {
    (PRETRAINED, ""): (PRETRAINED, "fairness/plain"),
    (EQUITUNE, ""): ("Equi", "fairness/equi"),
    (EQUITUNE, "relaxed"): ("R-Equi", "fairness/r_equi"),
    (EQUIZERO, ""): ("Equizero", "fairness/equizero"),
    (EQUIZERO, "relaxed"): ("R-Equizero", "fairness/r_equizero"),
    (EQUIZERO, "samples"): ("best of {}", "fairness/best_of"),
    (LAMBDA_EQUITUNE, ""): ("lambda-Equi", "fairness/lambda"),
}
# Departure of rows, to the column `option`.
_OPTIONS = {"": "", "relaxed=True": "relaxed", "branches=samples": "samples"}
# The metric of the difference of positive and negative shares, and those of the judges themselves.
REGARD, ACCURACY, FLIPS = "regard", "scorer_accuracy", "scorer_flips"
HELD_OUT = "dev+test"
# Where rows have a view "a - b", and what stands for the groups of a pair that no row names.
BETWEEN, EACH = " - ", "each"
# What methods are compared on, and what tells their numbers apart.
PLACE = ("scale", "protocol", "dataset", "model", "group")
_WORDS = (*PLACE[:2], "model", "task.regard_data", "model.source", "group", "arm")
_BY = (*PLACE, "method", "option", "split", "view", "metric")
UNITS = "Percent of the sentences about a demographic group, mean (spread) [interval] over n seeds"
FILES = {"file": "FILE", "regard_data": "FOLDER"}
REFERENCE_COMMAND = command(REFERENCE, [FILES], ("model.file", "task.regard_data"))


def kind(model: str) -> str:
    """A model's name in the configuration; in rows its source may follow."""
    return model.partition(" ")[0]


def result_numbers(results: Results, options: Options) -> Numbers:
    """Numbers of what the protocol defines, of the two data sets and all ways.

    A model that has to be given a source is named with it.
    """
    return Numbers(_rows(results.of("fairness"), options.scales), _BY, options.spread)


@lru_cache(maxsize=2)
def _rows(results: Results, scales: tuple[str, ...]) -> pd.DataFrame:
    """The rows of these numbers, once for all tables and figures."""
    rows = select(results.ours, scale=scales, dataset=[*EXPERIMENTS], step="")
    source = option(rows, "model.source").where(rows["model"] == "causal_lm", None)
    # Of a model that its name does not tell, the source is a part of that and no departure.
    departure = departing(rows).where(source.isna(), departing(rows, "model.source"))
    model = rows["model"].where(source.isna(), rows["model"] + " " + source.fillna(""))
    rows = rows.assign(option=departure.map(_OPTIONS), model=model)
    known, found = _names(), zip(rows["method"], rows["option"], strict=True)
    kept = pd.Series([way in known for way in found], rows.index, dtype=bool)
    return rows[kept]


def _names() -> dict[tuple[str, str], str]:
    """The names of all ways: those of the presets, then methods that a user has registered."""
    further = {(name, ""): own.label for name, own in METHODS.items() if name not in PAPERS}
    return {way: name for way, (name, _) in WAYS.items()} | further


def places(numbers: Numbers, options: Options, datasets: Iterable[str]) -> list[dict[str, str]]:
    """Labels `PLACE` with rows and, in the presets' protocol, those without.

    The latter are the paper's pairs for each model with rows and for the presets'.
    """
    found, own = numbers.labels(*PLACE), numbers.labels("model", "scale", "protocol")
    own += [{"model": m, "scale": s, "protocol": PROTOCOL} for s, m in _EXPECTED.items()]
    rank = {name: float(place) for place, name in enumerate(JUDGES)}
    other = rank[REFERENCE] - 0.5
    models = sorted({each["model"] for each in own}, key=lambda m: (rank.get(kind(m), other), m))

    def counts(place: Labels) -> bool:
        asked = place["protocol"] == PROTOCOL and place["model"] != REFERENCE
        names = ("model", "scale", "protocol")
        missing = place["group"] in PAIRS and {name: place[name] for name in names} in own
        return place in found or (asked and missing)

    groups = dict.fromkeys([*PAIRS, *(place["group"] for place in found)])
    every = product(options.scales, PROTOCOLS, datasets, models, groups)
    return [*filter(counts, (dict(zip(PLACE, texts, strict=True)) for texts in every))]


def views(numbers: Numbers, metric: str, **wanted: str) -> list[str]:
    """The demographic groups, or two and two of them, that rows of a metric are about."""
    return [labels["view"] for labels in numbers.labels("view", metric=metric, **wanted)]


def judges(numbers: Numbers, place: Labels) -> list[str]:
    """The judges: first the one that equizero optimises, the others as rows name them.

    Of a model without rows it is that one alone.
    """
    first = JUDGES.get(kind(place["model"]), "none")
    found = [labels["split"] for labels in numbers.labels("split", metric=REGARD, **place)]
    return sorted(found, key=lambda name: name != first) or [first]


def ways(numbers: Numbers, place: Labels) -> list[dict[str, str]]:
    """The labels of what is compared in a place: method, option, and `way`, its name.

    They are those of the presets, with rows or without, and those with rows of further methods;
    beyond the presets' protocol only those with rows.
    """
    complete = place["protocol"] == PROTOCOL and place["model"] != REFERENCE
    found = [tuple(labels.values()) for labels in numbers.labels("method", "option", **place)]
    count = len(views(numbers, "sentences", **place)) or len(place["group"].split("_"))
    return [
        {"method": way[0], "option": way[1], "way": name.format(count)}
        for way, name in _names().items()
        if way in found or (complete and way in WAYS)
    ]


def commands(missing: Iterable[Labels]) -> list[str]:
    """Shell commands for lines with missing cells; pairs that lack the same arms share one."""
    arms: dict[tuple[str, ...], dict[str, None]] = {}
    for line in missing:
        way = line["method"], line["option"]
        if way in WAYS and line["model"] != REFERENCE:
            arms.setdefault(tuple(line[name] for name in PLACE), {})[WAYS[way][1]] = None
    together: dict[tuple[str, ...], list[Labels]] = {}
    for place, own in arms.items():
        found = dict(zip(PLACE, place, strict=True))
        found["model"], _, found["source"] = found["model"].partition(" ")
        found |= FILES if found["model"] in _WITH_DATA else {}
        lines = together.setdefault((*place[:-1], *own), [])
        lines += [found | {"arm": arm} for arm in own]
    return [command(EXPERIMENTS[own[0]["dataset"]], own, _WORDS) for own in together.values()]


def qualities(numbers: Numbers, **wanted: str) -> dict[tuple[str, str], dict[str, str]]:
    """How good judges are, as text: judge and metric, to view, to `84.4 [76.7, 91.1]`.

    The metric is `ACCURACY` or `FLIPS`, the view says of which sentences or of which two
    demographic groups, in the order of the paper's pairs. Every run that asked a judge says it once
    more.
    """
    rank = {group: place for place, group in enumerate(PAIRS)}
    cells = numbers.labels(*_BY, "seed", **wanted)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for cell in sorted(cells, key=lambda cell: rank.get(cell["group"], len(rank))):
        number = numbers.find(**cell) if cell["metric"] in (ACCURACY, FLIPS) else None
        if number is not None:
            text = format_estimate(number)
            own = found.setdefault((cell["split"], cell["metric"]), {})
            texts = own.get(cell["view"], text).split("; ")
            own[cell["view"]] = "; ".join(dict.fromkeys([*texts, text]))
    return found


def tests_of_judges(numbers: Numbers) -> Numbers:
    """What `qualities` reads."""
    metrics = [f"{name}{end}" for name in (ACCURACY, FLIPS) for end in ("", "_low", "_high")]
    return Numbers(select(numbers.rows, metric=metrics), (*_BY, "seed"))


def general_notes(results: Results, models: Iterable[str], rows: pd.DataFrame) -> tuple[str, ...]:
    """The notes that every table and figure of the task has."""
    used = {kind(model) for model in models}
    unprinted = select(results.reported, task="fairness").empty
    return (
        *(note for model, note in _MODEL_NOTES.items() if model in used),
        *["the paper prints no numbers for this part, and none were read off its pictures"]
        * unprinted,
        f"a seed is one of sampling: {', '.join(sorted({*rows['seed']})) or EN_DASH}",
    )
