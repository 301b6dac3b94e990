"""SCAN: which rows count, columns beside the paper's, and Tables 2 and 8 to 12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from experiments.frame.methods import METHODS, PAPERS, PRETRAINED
from experiments.frame.rows import PROTOCOLS
from report.aggregate import Numbers
from report.cells import DAGGER, format_counts, format_papers, format_summary, outside_spread
from report.options import Options
from report.results import Results, select, step_numbers
from report.spec import UNITS, Column, Line, Spec
from report.tables import Table

MODELS = ("LSTM", "GRU", "RNN")
SPLITS = ("validation", "test")
# The group of the paper on each data set, and the one element of the pretrained model.
GROUPS = {"add_jump": "verb", "around_right": "direction"}
TRIVIAL = dict.fromkeys(GROUPS, "trivial")
# Number of elements; tested against conf/group.
GROUP_SIZES = {
    **{"trivial": 1, "verb": 2, "direction": 2},
    **{"verb4": 4, "verb_direction": 4, "verb4_direction": 8},
}
# A model that was not fine-tuned, and one fine-tuned as for Tables 10 to 12.
ZERO_SHOT = ""
FINETUNED = "10000"
BY = (
    *("scale", "protocol", "dataset", "model", "group", "method", "variant"),
    *("step", "split", "metric"),
)
ZERO_SHOT_MODELS = {"table2": "LSTM", "table8": "GRU", "table9": "RNN"}
FINETUNED_MODELS = {"table10": "LSTM", "table11": "GRU", "table12": "RNN"}
# The group that a model equivariant by construction is built for: text and code differ.
BUILT_IN_GROUPS = {"reference": GROUPS | {"add_jump": "verb4"}, "paper": GROUPS}
_BUILT_IN_NOTE = (
    "{}: equivariant by construction and trained from scratch; on add_jump the paper's text claims "
    "a group of two elements (verb, protocol=paper), the authors' code has four (verb4, "
    "protocol=reference), and the paper's one number stands beside either"
)


def result_rows(
    results: Results,
    options: Options,
    metric: str | Sequence[str] = "accuracy",
    **wanted: str | Sequence[str],
) -> pd.DataFrame:
    """Rows of validation and test commands as they are, without changes of the inputs' view.

    A demo fine-tunes for fewer iterations: the last step that any row of a model and method has
    counts as `FINETUNED`, and the column `last` tells it. A step that is no whole number is a
    ValueError.
    """
    scales = options.scales
    rows = select(results.ours, task="scan", metric=metric, view="", split=SPLITS, scale=scales)
    tuned = select(rows[rows["step"] != ZERO_SHOT], scale="demo")
    steps = step_numbers(tuned)
    last = steps.groupby([tuned[name] for name in ("protocol", "model", "method")])
    ends = steps.index[steps == last.transform("max")]
    found = rows["step"].mask(rows.index.isin(ends), FINETUNED)
    return select(rows.assign(step=found, last=rows["step"]), **wanted)


def result_numbers(results: Results, options: Options, **wanted: Any) -> Numbers:
    """Numbers of the rows that `result_rows` finds with the same arguments."""
    return Numbers(result_rows(results, options, **wanted), BY, options.spread)


def finetuned_note(rows: pd.DataFrame) -> str:
    """A sentence on the number of fine-tuning iterations of a table's rows."""
    steps = sorted(set(map(int, select(rows, scale="demo", step=FINETUNED)["last"])))
    last = f"; scale = demo: at the last step found, {', '.join(map(str, steps))}" if steps else ""
    return f"fine-tuned: after {FINETUNED} iterations{last}"


def compared(dataset: str = "") -> tuple[Column, ...]:
    """Columns of validation, test, seeds, and what the paper reports.

    They are those of a line's data set, or of one that a label of the line names: its text is the
    group. Cells that differ from the paper's by more than both spreads get a dagger, but for a
    demo, which is another experiment.
    """

    def labels(line: Line, split: str) -> dict[str, str]:
        own = {"dataset": dataset, "group": line.labels[dataset]} if dataset else {}
        return {**own, "split": split}

    def reported(line: Line, split: str) -> tuple[float, float] | None:
        known = {**line.labels, **labels(line, split)}
        return line.paper(**{name: known[name] for name in ("model", "method", "dataset", "split")})

    def ours(line: Line, split: str) -> str:
        found, theirs = line.find(**labels(line, split)), reported(line, split)
        if found is None or theirs is None or line.labels["scale"] != "paper":
            return format_summary(found)
        return format_summary(found) + DAGGER * outside_spread(found, *theirs)

    def papers(line: Line, split: str) -> str:
        return format_papers(reported(line, split))

    def count(line: Line) -> str:
        return format_counts([line.find(**labels(line, split)) for split in SPLITS])

    return (
        *(Column(split, partial(ours, split=split)) for split in SPLITS),
        Column("n", count),
        *(Column(f"paper reports, {split}", partial(papers, split=split)) for split in SPLITS),
    )


def _group(data: str, line: Line) -> str:
    return line.labels[data]


_methods = partial(
    Spec,
    block=("scale", "protocol"),
    columns={data: (Column("group", partial(_group, data)), *compared(data)) for data in GROUPS},
    units=UNITS,
    words=("protocol", "scale"),
)


def zero_shot_table(name: str, results: Results, options: Options) -> Table:
    """Table 2, 8 or 9: zero-shot accuracy of one recurrent model beside the paper's numbers."""
    model = ZERO_SHOT_MODELS[name]
    numbers = result_numbers(results, options, model=model, variant="", step=ZERO_SHOT)
    title = f"{_number(name)}: zero-shot accuracy of the {model} on SCAN"
    lines = [
        block | _line(model, method, GROUPS if known.uses_group else TRIVIAL)
        for block in _blocks(options)
        for method, known in METHODS.items()
        if method in PAPERS or {"method": method} in numbers.labels("method", **block)
    ]
    reported = select(results.reported, artefact=name)
    return _methods(name, title, stub=("method",)).build(numbers, options, lines, reported)


def finetuned_table(name: str, results: Results, options: Options) -> Table:
    """Table 10, 11 or 12: one model pretrained, equivariant by construction, and fine-tuned."""
    model = FINETUNED_MODELS[name]
    built_in = f"G-{model}"
    numbers = result_numbers(results, options, variant="")
    title = (
        f"{_number(name)}: accuracy on SCAN of the {model}, pretrained and fine-tuned, and of the "
        f"{built_in}"
    )
    tuned = partial(numbers.labels, "method", model=model, step=FINETUNED)
    lines = [
        block | line
        for block in _blocks(options)
        for line in (
            _line(model, PRETRAINED, TRIVIAL),
            _line(built_in, PRETRAINED, BUILT_IN_GROUPS[block["protocol"]]),
            *(
                _line(model, method, GROUPS, FINETUNED)
                for method, known in METHODS.items()
                if known.uses_group and (method in PAPERS or {"method": method} in tuned(**block))
            ),
        )
    ]
    return _methods(name, title, stub=("model", "method")).build(
        numbers,
        options,
        lines,
        select(results.reported, artefact=name),
        lambda rows: (finetuned_note(rows), _BUILT_IN_NOTE.format(built_in)),
    )


def _number(name: str) -> str:
    return f"Table {name.removeprefix('table')}"


def _blocks(options: Options) -> Iterator[dict[str, str]]:
    for scale in options.scales:
        yield from ({"scale": scale, "protocol": protocol} for protocol in PROTOCOLS)


def _line(
    model: str, method: str, groups: Mapping[str, str], step: str = ZERO_SHOT
) -> dict[str, str]:
    own = {"model": model, "method": method, "step": step, "variant": "", "metric": "accuracy"}
    return own | {**groups}
