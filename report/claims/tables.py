"""Claims: three tables: what is claimed, the verdict on each claim, and on each of its cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from report.cells import EN_DASH, NOT_REPORTED, Interval, format_interval, format_number
from report.claims.cells import LEVEL, Cell
from report.claims.model import Claim
from report.claims.paper import Reported
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
from report.statistics import CONFIDENCE
from report.tables import Block, ColumnGroup, Table

COUNTED = (REPRODUCED, CONTRARY, UNDECIDED, NOT_RUN)
_STAND_IN = "in place of the paper's"
_LEVEL = f"{CONFIDENCE:.0%}".replace("%", " %")
_SUMMARY = (
    *("protocol", "models", f"cells: {' / '.join(COUNTED)}", "verdict", "Holm"),
    *(f"paper's numbers: {HOLDS} / {FAILS}", "paper's verdict"),
)
_DETAIL = (
    *("model", "n", f"difference [{_LEVEL}]", "verdict", "lacks", "Holm p"),
    *("paper's difference", "paper's verdict"),
)
_VERDICTS = (
    f"{REPRODUCED}: the {_LEVEL} interval lies on the claimed side (of a claim of equality: within "
    f"the margin); {CONTRARY}: on the other side, or, of a claim of difference, within the margin "
    f"of no difference; {UNDECIDED}: neither; {NOT_RUN}: no rows; {TESTED}: a test of that name is "
    f"in the test suite (make test runs it), and there is no number to reproduce",
    "a claim has the worst verdict of its cells: it is reproduced where all of them are",
    "interval: Student's t of the differences paired by seed; of one seed the interval over images "
    "or sentences that its rows have, or the least and greatest of rounds; unpaired: both sides' "
    "intervals joined as if they were independent, which is wider than paired where what is hard "
    "for one is hard for both",
    f"lacks: how many seeds more would have an interval without zero, if they showed the same mean "
    f"and spread, counted up to {MOST_SEEDS} in all",
    "verdicts are not corrected for the number of comparisons. For a claim that is reproduced by "
    "all its cells none is needed; for one that a single cell contradicts it is: Holm is the "
    f"verdict where a cell counts only if its p-value, adjusted among the cells of the line, is at "
    f"most {LEVEL}",
    "rows count whose variant is empty or named by the claim; others are departures",
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
    rows = [
        (each.id, each.statement, each.place, each.note or EN_DASH, ", ".join(each.tasks))
        for each in claims
    ]
    blocks = [
        Block({"task": task}, tuple(row[:-1] for row in rows if row[-1] == task))
        for task in dict.fromkeys(row[-1] for row in rows)
    ]
    return Table(
        name="claims_statements",
        title="What the paper claims, in our words",
        stub=("claim", "what it says", "where"),
        groups=(ColumnGroup("", ("how it is decided",)),),
        blocks=tuple(blocks),
        latex_columns="p{2.6cm}p{4.8cm}p{2.4cm}p{5.2cm}",
    )


def verdicts_table(
    cells: Sequence[Cell],
    papers: Mapping[str, Sequence[Reported]],
    scale: str,
    left_out: Sequence[str],
) -> Table:
    """Table of verdicts on claims.

    There is one block per task, and one row per claim, protocol, and models of the paper or in
    their place. `left_out` are sentences on rows that do not count.
    """
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for (name, protocol, stand_in), inside in grouped(cells).items():
        claim = inside[0].claim
        lines = blocks.setdefault(", ".join(claim.tasks), [])
        models = ", ".join(dict.fromkeys(cell.models for cell in inside if cell.models))
        verdicts = [cell.verdict for cell in inside]
        lines.append(
            (
                *(name, protocol or EN_DASH),
                f"{models} ({_STAND_IN})" if stand_in else models or EN_DASH,
                " / ".join(str(verdicts.count(verdict)) for verdict in COUNTED),
                overall(verdicts),
                overall([cell.corrected for cell in inside]),
                *_counted(papers.get(name, ())),
            )
        )
    compared = sum(cell.found is not None for cell in cells)
    return Table(
        name="claims_verdicts",
        title="The paper's claims, judged by our runs and by its own numbers",
        stub=("claim",),
        groups=(ColumnGroup("", _SUMMARY),),
        blocks=tuple(
            Block({"task": task, "scale": scale}, tuple(rows)) for task, rows in blocks.items()
        ),
        notes=(f"{compared} comparisons of our own numbers in all", *_VERDICTS, *left_out),
        commands=tuple(dict.fromkeys(cell.command for cell in cells if _is_missing(cell))),
        latex_columns="p{2.4cm}p{1.3cm}p{3cm}p{1.6cm}p{1.6cm}p{1.6cm}p{1.4cm}p{1.4cm}",
    )


def _is_missing(cell: Cell) -> bool:
    return cell.verdict == NOT_RUN and bool(cell.command)


def _counted(papers: Sequence[Reported]) -> tuple[str, str]:
    verdicts = [each.verdict for each in papers]
    if not verdicts:
        return EN_DASH, NOT_REPORTED
    counts = " / ".join(str(verdicts.count(verdict)) for verdict in (HOLDS, FAILS))
    return counts, FAILS if FAILS in verdicts else HOLDS


def cells_table(cells: Sequence[Cell], scale: str) -> Table:
    """Table of verdicts on cells: one block per claim and protocol."""
    blocks: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for cell in cells:
        blocks.setdefault(cell.group[:2], []).append(_line(cell))
    return Table(
        name="claims_cells",
        title="The same by cell",
        stub=("comparison", "cell"),
        groups=(ColumnGroup("", _DETAIL),),
        blocks=tuple(
            Block({"claim": name, "protocol": protocol or EN_DASH, "scale": scale}, tuple(lines))
            for (name, protocol), lines in blocks.items()
        ),
        latex_columns="p{1.6cm}p{3cm}p{1.2cm}p{0.8cm}p{1.9cm}p{1.6cm}p{0.9cm}p{0.7cm}p{1.2cm}p{1.1cm}",
    )


def _line(cell: Cell) -> tuple[str, ...]:
    return (
        cell.comparison,
        describe(cell.labels) or EN_DASH,
        cell.models or EN_DASH,
        _count(cell.found),
        _difference(cell),
        cell.verdict,
        cell.lacks or EN_DASH,
        EN_DASH if cell.adjusted is None else f"{cell.adjusted:.2g}",
        *_reported(cell),
    )


def describe(labels: Mapping[str, str]) -> str:
    """What distinguishes a cell, but for protocol and model."""
    shown = {k: v for k, v in labels.items() if k not in ("protocol", "model") and v}
    return ", ".join(f"{name}={text}" for name, text in shown.items())


def _count(found: Found | None) -> str:
    if found is None:
        return EN_DASH
    return f"{found.seeds}" if found.basis in ("", "seeds") else f"{found.seeds} ({found.basis})"


def _difference(cell: Cell) -> str:
    found = cell.found
    if found is None:
        return EN_DASH
    if cell.claim.kind == "bound":
        return f"{found.value:.2g} (tolerance {cell.aim.margin:g})"
    width = None if found.low is None or found.high is None else (found.high - found.low) / 2
    decimals = max(_decimals(width or found.value), _least(cell))
    text = format_number(found.value, signed=_is_signed(cell), decimals=decimals)
    if found.low is None or found.high is None:
        return text
    return f"{text} {format_interval(Interval(found.low, found.high), decimals)}"


def _decimals(number: float) -> int:
    """Choose as many as show the first digit of a number, at least one."""
    return max(1, -math.floor(math.log10(abs(number)))) if number else 1


def _is_signed(cell: Cell) -> bool:
    """Tell differences from quotients, which are compared with a number near one."""
    return not cell.claim.paper.over


def _least(cell: Cell) -> int:
    return 1 if _is_signed(cell) else 2


def _reported(cell: Cell) -> Iterator[str]:
    paper = cell.paper
    if paper is None:
        yield from (EN_DASH, NOT_REPORTED)
        return
    decimals = max(2, _decimals(paper.value)) if abs(paper.value) < 1 else _least(cell)
    text = format_number(paper.value, signed=_is_signed(cell), decimals=decimals)
    spread = "" if paper.spread is None else f" ({format_number(paper.spread, decimals=1)})"
    yield from (f"{text}{spread}", paper.verdict)
