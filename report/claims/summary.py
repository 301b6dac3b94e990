"""Claims: the short form for a terminal, with a line for each claim."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from report.claims.model import OURS, PAPER
from report.claims.statistics import NOT_RUN, TESTED, VERDICTS, overall
from report.claims.tables import MEANINGS, grouped
from report.claims.verdicts import Report

_WHOSE = {PAPER: "of the paper", OURS: "of our own"}
_WIDE = 110  # characters that have room for places, too
_NOTES = (
    *(f"{verdict}: {MEANINGS[verdict]}." for verdict in (TESTED, NOT_RUN)),
    "A claim has the worst verdict of its cells, protocols and models, of those that were run.",
    "*: on models in place of the paper's; not run on the paper's own.",
)


def show_summary(report: Report, console: Console) -> None:
    """Print how many claims have which verdict, and of each its statement, place and verdict."""
    verdicts = {claim.id: _verdict(report.of([claim.id])) for claim in report.claims}
    for whose, words in _WHOSE.items():
        claims = [claim for claim in report.claims if claim.of == whose]
        if not claims:
            continue
        counts = Counter(verdicts[claim.id].rstrip("*") for claim in claims)
        parts = ", ".join(f"{counts[name]} {name}" for name in VERDICTS[::-1] if counts[name])
        console.print(
            Text(f"Claims {words}, {len(claims)} in all: {parts}", style="bold"), soft_wrap=True
        )
        table = Table(box=None, padding=(0, 1), pad_edge=False, expand=True)
        table.add_column("claim", no_wrap=True, min_width=max(len(claim.id) for claim in claims))
        table.add_column("verdict", no_wrap=True, min_width=max(map(len, VERDICTS)) + 1)
        table.add_column("what it says", no_wrap=True, overflow="ellipsis", ratio=2)
        if console.width >= _WIDE:
            table.add_column("where", no_wrap=True, overflow="ellipsis", ratio=1)
        for claim in claims:
            cells = (claim.id, verdicts[claim.id], claim.statement, claim.where)
            table.add_row(*map(Text, cells[: len(table.columns)]))
        console.print(table)
        console.print()
    left_out = sum(map(bool, report.departures.values()))
    more = (
        f"For {left_out} claims there are also runs with other options than the protocol's. Their "
        "rows do not count; the notes in claims.md name them."
    ) * bool(left_out)
    for line in (*_NOTES, more, *report.gaps):
        if line:
            console.print(Text(line), soft_wrap=True)


def _verdict(report: Report) -> str:
    """Return the verdict on the one claim of a report, with a star for what stands in."""
    judged = [
        (overall([cell.verdict for cell in cells]), stands_in)
        for (_, _, stands_in), cells in grouped(report.cells).items()
    ]
    run = [each for each in judged if each[0] != NOT_RUN] or judged
    star = "*" * all(stands_in for _, stands_in in run)
    return overall([verdict for verdict, _ in run]) + star
