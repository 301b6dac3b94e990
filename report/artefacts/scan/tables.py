"""SCAN: the zero-shot Tables 2, 8 and 9 and the fine-tuned Tables 10 to 12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from experiments.frame.methods import METHODS, PAPERS, PRETRAINED
from experiments.frame.rows import PROTOCOLS
from report.artefacts.scan.common import (
    FINETUNED,
    GROUPS,
    TRIVIAL,
    ZERO_SHOT,
    compared,
    finetuned_note,
    result_numbers,
)
from report.options import Options
from report.results import Results, select
from report.spec import UNITS, Column, Line, Spec
from report.tables import Table

ZERO_SHOT_MODELS = {"table2": "LSTM", "table8": "GRU", "table9": "RNN"}
FINETUNED_MODELS = {"table10": "LSTM", "table11": "GRU", "table12": "RNN"}
# The group that a model equivariant by construction is built for: text and code differ.
BUILT_IN_GROUPS = {"reference": GROUPS | {"add_jump": "verb4"}, "paper": GROUPS}
_BUILT_IN_NOTE = (
    "{}: equivariant by construction and trained from scratch; on add_jump the paper's text claims "
    "a group of two elements (verb, protocol=paper), the authors' code has four (verb4, "
    "protocol=reference), and the paper's one number stands beside either"
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
