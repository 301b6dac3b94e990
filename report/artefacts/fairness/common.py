"""The fairness task: what its tables and figures share: models, judges, ways, which rows count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, LAMBDA_EQUITUNE, PRETRAINED
from report.cells import EN_DASH
from report.options import Options
from report.results import Results, departing, option, select

PAIRS = ("man_woman", "black_white", "straight_gay")
# Data sets, and the preset that runs each.
EXPERIMENTS = {"respect": "figure3", "occupation": "figure9"}
REFERENCE = "gpt2_sentences"
# Where rows have a view "a - b".
BETWEEN = " - "
# The metric of the difference of positive and negative shares.
REGARD = "regard"
# What stands for the demographic groups of a pair that no row names.
EACH = "each"
# The model that rows tell from others of its kind by where it is from.
_SOURCED = "causal_lm"
_SOURCE = "model.source"


class Model(NamedTuple):
    """A language model.

    Attributes:
        title: Its name in a picture; empty for what rows call it.
        judge: Who labels its sentences first, which is whom equizero optimises.
        words: What a command has for it.
        note: What a reader must know; empty for the paper's.
    """

    title: str
    judge: str
    words: tuple[str, ...] = ()
    note: str = ""


# In the order of blocks. The judges are those of conf/task_model.
MODELS = {
    "gpt2": Model("GPT-2 small", "regardv3"),
    "smollm2": Model(
        "SmolLM2-135M-Instruct",
        "minilm",
        ("model=smollm2", "task.regard_data=FOLDER"),
        "smollm2: SmolLM2-135M-Instruct with 4-bit weights, which is no model of the paper and "
        "stands in place of GPT-2 small",
    ),
    "causal_lm": Model(
        "",
        "regardv3",
        ("model=causal_lm", "task.regard_data=FOLDER"),
        "causal_lm: the model that is named after it, in place of the paper's GPT-2 small",
    ),
    "PlantedGPT2": Model(
        "PlantedGPT2 (synthetic bias)",
        "words",
        ("model=PlantedGPT2",),
        "PlantedGPT2: a small network, trained here on sentences from templates in which some "
        "demographic groups are spoken ill of more often; its bias is synthetic and says nothing "
        "about GPT-2 or any other real model",
    ),
    REFERENCE: Model(
        "GPT-2 text",
        "minilm",
        (),
        f"{REFERENCE}: real text of GPT-2 small, which others had it write and published; the "
        "prompts, the lengths and the sampling are theirs and not the paper's",
    ),
}
UNKNOWN = Model("", "")


class Way(NamedTuple):
    """One column of the figures: a method, and the option that it was run with.

    Attributes:
        option: `relaxed`, `samples` or empty.
        short: Its name; `{}` stands for the number of demographic groups.
        arm: The preset in `conf/arm`.
    """

    method: str
    option: str
    short: str
    arm: str

    def label(self, groups: int) -> str:
        """Its name, for a number of demographic groups."""
        return self.short.format(groups)


# The paper's five, in its order, and ours.
WAYS = tuple(
    Way(method, option, short, f"fairness/{arm}")
    for method, option, short, arm in (
        (PRETRAINED, "", PRETRAINED, "plain"),
        (EQUITUNE, "", "Equi", "equi"),
        (EQUITUNE, "relaxed", "R-Equi", "r_equi"),
        (EQUIZERO, "", "Equizero", "equizero"),
        (EQUIZERO, "relaxed", "R-Equizero", "r_equizero"),
        (EQUIZERO, "samples", "best of {}", "best_of"),
        (LAMBDA_EQUITUNE, "", "lambda-Equi", "lambda"),
    )
)
PLAIN, LAMBDA = WAYS[0], WAYS[-1]


def model_of(name: str) -> Model:
    """What is known of a model, by its name in `result_rows`."""
    return MODELS.get(name.partition(" ")[0], UNKNOWN)


def model_title(name: str) -> str:
    """The name of a model in a picture."""
    return model_of(name).title or name.rpartition(" ")[-1]


def result_rows(results: Results, options: Options) -> pd.DataFrame:
    """Rows of what the protocol defines, of the two data sets and `WAYS`.

    A further column is `option`, as in `Way`. A model that has to be given a source is named with
    it.
    """
    rows = select(results.ours, task="fairness", scale=options.scales, dataset=[*EXPERIMENTS])
    sourced = rows["model"] == _SOURCED
    source = option(rows, _SOURCE).where(sourced, None)
    # Of a model that its name does not tell, the source is a part of that and no departure.
    departure = departing(rows).where(source.isna(), departing(rows, _SOURCE))
    chosen = departure.map({"": "", "relaxed=True": "relaxed", "branches=samples": "samples"})
    model = rows["model"].where(source.isna(), rows["model"] + " " + source.fillna(""))
    known = {(way.method, way.option) for way in WAYS}
    shown = [way in known for way in zip(rows["method"], chosen, strict=True)]
    kept = (rows["step"] == "") & pd.Series(shown, rows.index, dtype=bool)
    return rows.assign(option=chosen, model=model)[kept]


def of_way(rows: pd.DataFrame, way: Way) -> pd.DataFrame:
    """The rows of a way."""
    return select(rows, method=way.method, option=way.option)


def judges(rows: pd.DataFrame, model: str) -> list[str]:
    """The judges of a model: first the one that equizero optimises, the others as rows name them.

    Of a model without rows it is that one alone.
    """
    found = [*dict.fromkeys(select(rows, metric="regard")["split"])]
    first = model_of(model).judge
    if not found:
        return [first or "none"]
    return sorted(found, key=lambda name: name != first)


def persons(rows: pd.DataFrame) -> list[str]:
    """The demographic groups, as rows name them; `EACH` without rows."""
    return [*dict.fromkeys(select(rows, metric="sentences")["view"])] or [EACH]


def count_of(group: str, names: Sequence[str]) -> int:
    """The number of demographic groups; of a pair without rows two."""
    return len(group.split("_")) if list(names) == [EACH] else len(names)


def general_notes(rows: pd.DataFrame, results: Results, shown: Iterable[str]) -> tuple[str, ...]:
    """The notes that every table and figure of the task has."""
    used = {name.partition(" ")[0] for name in shown}
    papers = select(results.reported, task="fairness")
    seeds = sorted({*rows["seed"]})
    return (
        *(model.note for name, model in MODELS.items() if name in used and model.note),
        *["the paper prints no numbers for this part, and none were read off its pictures"]
        * papers.empty,
        f"a seed is one of sampling: {', '.join(seeds) or EN_DASH}",
    )
