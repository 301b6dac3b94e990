"""SCAN: the zero-shot Tables 2, 8 and 9 and the fine-tuned Tables 10 to 12."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import METHODS, PAPERS, PRETRAINED
from experiments.frame.rows import PROTOCOLS
from report.artefacts.scan.common import (
    FINETUNED,
    GROUPS,
    TRIVIAL,
    ZERO_SHOT,
    at_step,
    finetuned_note,
    result_rows,
)
from report.captions import commands
from report.cells import MISSING
from report.comparison import OUR_HEADERS, PAPER_HEADERS, compared_cells, notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

ZERO_SHOT_MODELS = {"table2": "LSTM", "table8": "GRU", "table9": "RNN"}
FINETUNED_MODELS = {"table10": "LSTM", "table11": "GRU", "table12": "RNN"}
# The group that a model equivariant by construction is built for: text and code differ.
BUILT_IN_GROUPS = {"reference": GROUPS | {"add_jump": "verb4"}, "paper": GROUPS}

_BUILT_IN_NOTE = (
    "{}: equivariant by construction and trained from scratch; on add_jump the paper's text claims "
    "a group of two elements (verb, protocol=paper), the authors' code has four (verb4, "
    "protocol=reference), and the paper's one number stands beside either"
)


class Line(NamedTuple):
    """One line of a table: what names it and which rows fill it.

    Attributes:
        names: Its leading cells.
        groups: Data set to the rows' group.
        step: The rows' step, as in `at_step`.
    """

    names: tuple[str, ...]
    model: str
    method: str
    groups: Mapping[str, str]
    step: str


class Layout(NamedTuple):
    """What distinguishes one table of methods from another.

    Attributes:
        name: The paper's artefact, and the experiment that makes its rows.
        lines: Protocol to its lines.
        extra: The rows that the table shows to further notes.
    """

    name: str
    title: str
    stub: tuple[str, ...]
    lines: Callable[[str], Sequence[Line]]
    extra: Callable[[pd.DataFrame], tuple[str, ...]] = lambda rows: ()


def zero_shot_table(name: str, results: Results, options: Options) -> Table:
    """Table 2, 8 or 9: zero-shot accuracy of one recurrent model beside the paper's numbers.

    There is one block per scale and protocol, one row per method, and one column group per data
    set.
    """
    model = ZERO_SHOT_MODELS[name]
    lines = [
        Line((method,), model, method, GROUPS if known.uses_group else TRIVIAL, ZERO_SHOT)
        for method, known in METHODS.items()
        if method in PAPERS
    ]
    title = f"{_number(name)}: zero-shot accuracy of the {model} on SCAN"
    layout = Layout(name, title, ("method",), lambda protocol: lines)
    return _methods_table(layout, results, options)


def finetuned_table(name: str, results: Results, options: Options) -> Table:
    """Table 10, 11 or 12: one model pretrained, equivariant by construction, and fine-tuned.

    There is one block per scale and protocol, and one column group per data set. Rows are the
    pretrained model, the group-equivariant one trained from scratch, and the methods fine-tuned.
    """
    model = FINETUNED_MODELS[name]
    built_in = f"G-{model}"
    tuned = [
        Line((model, method), model, method, GROUPS, FINETUNED)
        for method in PAPERS
        if METHODS[method].uses_group
    ]

    def lines(protocol: str) -> list[Line]:
        groups = BUILT_IN_GROUPS[protocol]
        return [
            Line((model, PRETRAINED), model, PRETRAINED, TRIVIAL, ZERO_SHOT),
            Line((built_in, PRETRAINED), built_in, PRETRAINED, groups, ZERO_SHOT),
            *tuned,
        ]

    title = (
        f"{_number(name)}: accuracy on SCAN of the {model}, pretrained and fine-tuned, and of the "
        f"{built_in}"
    )

    def extra(rows: pd.DataFrame) -> tuple[str, ...]:
        return finetuned_note(rows), _BUILT_IN_NOTE.format(built_in)

    return _methods_table(Layout(name, title, ("model", "method"), lines, extra), results, options)


def _number(name: str) -> str:
    return f"Table {name.removeprefix('table')}"


def _methods_table(layout: Layout, results: Results, options: Options) -> Table:
    """Table of methods beside the paper's numbers: one block per scale and protocol."""
    rows = select(result_rows(results, options), variant="", dataset=tuple(GROUPS))
    reported = select(results.reported, artefact=layout.name)
    blocks, used, incomplete = [], [], []
    for scale in options.scales:
        for protocol in PROTOCOLS:
            arm = select(rows, scale=scale, protocol=protocol)
            lines = layout.lines(protocol)
            chosen = [_rows_of(line, arm) for line in lines]
            used += chosen
            # A demo is another experiment: its distance from the paper says nothing.
            fill = partial(_cells, reported=reported, options=options, marked=scale == "paper")
            cells = tuple(map(fill, lines, chosen))
            blocks.append(Block({"scale": scale, "protocol": protocol}, cells))
            if any(MISSING in texts for texts in cells):
                incomplete.append(f"protocol={protocol} scale={scale}")
    headers, shown = ("group", *OUR_HEADERS, *PAPER_HEADERS), pd.concat(used)
    return Table(
        name=layout.name,
        title=layout.title,
        stub=layout.stub,
        groups=tuple(ColumnGroup(dataset, headers) for dataset in GROUPS),
        blocks=tuple(blocks),
        notes=(*notes(shown, blocks, options), *layout.extra(shown)),
        commands=commands(layout.name, incomplete),
    )


def _rows_of(line: Line, arm: pd.DataFrame) -> pd.DataFrame:
    rows = select(arm, model=line.model, method=line.method)
    return at_step(rows[rows["group"] == rows["dataset"].map(line.groups)], line.step)


def _cells(
    line: Line, rows: pd.DataFrame, reported: pd.DataFrame, options: Options, marked: bool
) -> tuple[str, ...]:
    cells = [*line.names]
    for dataset, group in line.groups.items():
        # The paper's row of a model built for a group counts whichever group the text names.
        paper = select(reported, model=line.model, method=line.method, dataset=dataset)
        ours = select(rows, dataset=dataset)
        cells += [group, *compared_cells(ours, paper, options, marked)]
    return tuple(cells)
