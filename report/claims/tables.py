"""Claims: three tables: what is claimed, the verdict on each claim, and on each of its cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from report.cells import EN_DASH, NOT_REPORTED, format_interval, format_number
from report.claims.judge import LEVEL, Cell, Reported
from report.claims.model import Claim
from report.claims.statistics import (
    CONTRARY,
    FAILS,
    HOLDS,
    MOST_SEEDS,
    NOT_RUN,
    REPRODUCED,
    TESTED,
    UNDECIDED,
    Found,
    overall,
)
from report.statistics import COVERAGE
from report.tables import Block, ColumnGroup, Table

#: The labels of a table's block, and the cells of one of its rows.
Line = tuple[Mapping[str, str], tuple[str, ...]]
COUNTED = (REPRODUCED, CONTRARY, UNDECIDED, NOT_RUN)
_STAND_IN = "in place of the paper's"
_SUMMARY = (
    *("protocol", "models", f"cells: {' / '.join(COUNTED)}", "verdict", "Holm"),
    *(f"paper's numbers: {HOLDS} / {FAILS}", "paper's verdict"),
)
_DETAIL = (
    *("model", "n", f"difference [{COVERAGE}]", "verdict", "lacks", "Holm p"),
    *("paper's difference", "paper's verdict"),
)
#: What each verdict says of a cell.
MEANINGS = {
    REPRODUCED: f"the {COVERAGE} interval lies on the claimed side (of a claim of equality: within "
    "the margin)",
    CONTRARY: "the interval lies on the other side (of a claim of difference: or within the margin "
    "of no difference)",
    UNDECIDED: "the interval allows both",
    NOT_RUN: "no such runs were done, so there are no rows to judge by",
    TESTED: "theory without a number to reproduce: a test of the test suite checks it (make test "
    "runs it)",
}
_VERDICTS = (
    "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANINGS.items()),
    "a claim has the worst verdict of its cells that were run: it is reproduced where all of these "
    "are",
    "interval: Student's t of the differences paired by seed; of one seed the interval over images "
    "or sentences that its rows have, or the least and greatest of rounds; unpaired: both sides' "
    "intervals joined as if they were independent, which is wider than paired where what is hard "
    "for one is hard for both",
    f"lacks: how many seeds more would have an interval without zero, if they showed the same mean "
    f"and spread, counted up to {MOST_SEEDS} in all",
    "verdicts are not corrected for the number of comparisons. For a claim that is reproduced by "
    "all its cells none is needed; for one that a single cell contradicts it is: Holm is the "
    f"verdict where a cell counts only if its p-value, adjusted among the cells of the line, is at "
    f"most {LEVEL}; of equality it is that of an equivalence test: twice the larger p-value of two "
    "one-sided tests against differences of the margin",
    "rows count whose variant is empty or named by the claim; others are of runs with other "
    "options than the protocol's",
    "paper's numbers: the same comparison on the means that the paper reports, without its spread: "
    f"a tie {FAILS}; in brackets the root of the sum of the squares of its standard deviations, "
    "which is that of a difference of independent numbers",
    f"models {_STAND_IN}: the claim is the paper's, the numbers are not about its models",
)


def grouped(cells: Sequence[Cell]) -> dict[tuple[str, str, bool], list[Cell]]:
    """The cells that are judged together, by `Cell.group`, in order."""
    groups: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    return groups


def statements_table(claims: Sequence[Claim]) -> Table:
    """Table of what is claimed: one row per claim."""
    return Table(
        name="claims_statements",
        title="What the paper claims, in our words",
        stub=("claim", "what it says", "where"),
        groups=(ColumnGroup("", ("how it is decided",)),),
        blocks=_blocks(
            ({"task": each.topic}, (each.id, each.statement, each.where, each.note))
            for each in claims
        ),
        latex_columns="p{2.6cm}p{4.8cm}p{2.4cm}p{5.2cm}",
    )


def verdicts_table(
    cells: Sequence[Cell], papers: Sequence[Reported], scale: str, left_out: Sequence[str]
) -> Table:
    """Table of verdicts: one row per claim, protocol, and models of the paper or in their place.

    `papers` are the paper's verdicts on these claims, `left_out` sentences on rows that do not
    count.
    """
    compared = sum(cell.found is not None for cell in cells)
    missing = (cell.command for cell in cells if cell.verdict == NOT_RUN and cell.command)
    return Table(
        name="claims_verdicts",
        title="The paper's claims, judged by our runs and by its own numbers",
        stub=("claim",),
        groups=(ColumnGroup("", _SUMMARY),),
        blocks=_blocks(_verdict(inside, papers, scale) for inside in grouped(cells).values()),
        notes=(f"comparisons of our own numbers: {compared} in all", *_VERDICTS, *left_out),
        commands=tuple(dict.fromkeys(missing)),
        latex_columns="p{2.4cm}p{1.3cm}p{3cm}p{1.6cm}p{1.6cm}p{1.6cm}p{1.4cm}p{1.4cm}",
    )


def cells_table(cells: Sequence[Cell], scale: str) -> Table:
    """Table of verdicts on cells: one block per claim and protocol."""
    return Table(
        name="claims_cells",
        title="The same by cell",
        stub=("comparison", "cell"),
        groups=(ColumnGroup("", _DETAIL),),
        blocks=_blocks(_line(cell, scale) for cell in cells),
        latex_columns="p{1.6cm}p{3cm}p{1.2cm}p{0.8cm}p{1.9cm}p{1.6cm}p{0.9cm}p{0.7cm}p{1.2cm}p{1.1cm}",
    )


def _blocks(lines: Iterable[Line]) -> tuple[Block, ...]:
    """Join lines of equal labels; an empty cell is a dash."""
    blocks: dict[tuple[tuple[str, str], ...], list[tuple[str, ...]]] = {}
    for labels, cells in lines:
        row = tuple(cell or EN_DASH for cell in cells)
        blocks.setdefault(tuple(labels.items()), []).append(row)
    return tuple(Block(dict(labels), tuple(rows)) for labels, rows in blocks.items())


def _verdict(cells: Sequence[Cell], papers: Sequence[Reported], scale: str) -> Line:
    claim, protocol, stand_in = cells[0].claim, cells[0].protocol, cells[0].stand_in
    models = ", ".join(dict.fromkeys(cell.models for cell in cells if cell.models))
    verdicts = [cell.verdict for cell in cells]
    theirs = [each.verdict for each in papers if each.claim == claim.id]
    row = (
        *(claim.id, protocol, f"{models} ({_STAND_IN})" if stand_in else models),
        " / ".join(str(verdicts.count(verdict)) for verdict in COUNTED),
        *(overall(verdicts), overall([cell.corrected for cell in cells])),
        " / ".join(str(theirs.count(verdict)) for verdict in (HOLDS, FAILS)) if theirs else "",
        (FAILS if FAILS in theirs else HOLDS) if theirs else NOT_REPORTED,
    )
    return {"task": claim.topic, "scale": scale}, row


def _line(cell: Cell, scale: str) -> Line:
    found, paper = cell.found, cell.paper
    basis = f" ({found.basis})" if found and found.basis not in ("", "seeds") else ""
    row = (
        *(cell.comparison, describe(cell.labels), cell.models),
        f"{found.seeds}{basis}" if found else "",
        _difference(cell, found) if found else "",
        *(cell.verdict, cell.lacks, "" if cell.adjusted is None else f"{cell.adjusted:.2g}"),
        *((_reported(cell, paper), paper.verdict) if paper else ("", NOT_REPORTED)),
    )
    labels = {"claim": cell.claim.id, "protocol": cell.protocol or EN_DASH, "scale": scale}
    return labels, row


def describe(labels: Mapping[str, str]) -> str:
    """What distinguishes a cell, but for protocol and model."""
    shown = {k: v for k, v in labels.items() if k not in ("protocol", "model") and v}
    return ", ".join(f"{name}={text}" for name, text in shown.items())


def _difference(cell: Cell, found: Found) -> str:
    if cell.claim.kind == "bound":
        return f"{found.value:.2g} (tolerance {cell.claim.margin.of(cell.labels) or 0.0:g})"
    low, high = found.interval or (0.0, 0.0)
    decimals = max(_decimals((high - low) / 2 or found.value), _least(cell))
    text = format_number(found.value, _is_signed(cell), decimals)
    return f"{text} {format_interval(found.interval, decimals)}" if found.interval else text


def _reported(cell: Cell, paper: Reported) -> str:
    decimals = max(2, _decimals(paper.value)) if abs(paper.value) < 1 else _least(cell)
    text = format_number(paper.value, _is_signed(cell), decimals)
    return text if paper.spread is None else f"{text} ({format_number(paper.spread)})"


def _decimals(number: float) -> int:
    """Choose as many as show the first digit of a number, at least one."""
    return max(1, -math.floor(math.log10(abs(number)))) if number else 1


def _is_signed(cell: Cell) -> bool:
    """Tell differences from quotients, which are compared with a number near one."""
    return not cell.claim.paper.over


def _least(cell: Cell) -> int:
    return 1 if _is_signed(cell) else 2
