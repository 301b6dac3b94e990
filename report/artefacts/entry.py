"""An artefact of the list: how it is built, and its line on a terminal.

A note names the rows of fresh runs that it leaves out, because they depart from the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from experiments.frame.rows import label_of
from report.cells import MISSING
from report.figures import Figure
from report.options import Options
from report.results import Results, select
from report.rows import KEY_COLUMNS
from report.tables import Table

#: How the notes on rows that depart begin.
LEFT_OUT = "left out, as they depart from the protocol"
TAKEN_IN = "taken in, although they depart from the protocol"
#: Of more parts, which of them an artefact knows is not tried out.
_TRIED = 3


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
        task: The task whose rows are loaded, or a topic over several.
        sources: The committed files under `results/measured/<task>` that it shows rows of, or would
            if they had any.
        over: The tasks of a topic.
        knows: The options by which rows that it shows may depart; none: it is tried out.
    """

    task: str
    build: Callable[[Results, Options], Table | Figure]
    sources: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    knows: frozenset[str] = frozenset()

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks whose rows are loaded."""
        return self.over or (self.task,)


class LeftOut(NamedTuple):
    """Rows that an artefact would show if it were not for their departure.

    Attributes:
        known: The options of that with which the artefact would show them.
    """

    variant: str
    known: Mapping[str, object]
    rows: pd.Index


def build(entry: Entry, results: Results, options: Options) -> Table | Figure:
    """An artefact, with a note of the rows that it leaves out or, if wished, takes in."""
    results = results if entry.over else results.of(entry.task)
    built = entry.build(results, options)
    found = list(left_out(entry, results, options, built.numbers))
    if not found:
        return built
    named = ", ".join(f"{each.variant} ({_counted(len(each.rows))})" for each in found)
    if not options.variants:
        return built.noted(f"{LEFT_OUT}: {named}; --variants takes them in")
    taken = entry.build(taking(results, found), options)
    return taken.noted(f"{TAKEN_IN}: {named}")


def left_out(
    entry: Entry, results: Results, options: Options, before: tuple[object, ...]
) -> Iterator[LeftOut]:
    """Find the fresh rows that an artefact would show if they did not depart.

    It is built without them and with parts of their departure removed, and compared with what it
    shows.
    """
    ours = results.ours
    mine = select(ours, origin=("fresh", "replaced"), task=entry.tasks, scale=options.scales)
    departing = mine[mine["variant"] != ""]
    for variant, rows in departing.groupby("variant", sort=True).groups.items():
        others = replace(results, ours=ours.drop(index=rows))
        if entry.build(others, options).numbers != before:
            continue  # it shows them
        parts = [*ours.loc[rows[0], "departures"].items()]
        sizes = range(len(parts) - 1, -1, -1) if len(parts) <= _TRIED else (0,)
        choices: Iterable[Iterable[tuple[str, object]]]
        choices = (kept for size in sizes for kept in combinations(parts, size))
        if entry.knows:
            choices = [[part for part in parts if part[0] in entry.knows]]
        for kept in choices:
            tried = LeftOut(str(variant), dict(kept), rows)
            if entry.build(taking(results, [tried]), options).numbers != before:
                yield tried
                break


def taking(results: Results, chosen: list[LeftOut]) -> Results:
    """Return the results with rows as if they did not depart, instead of others for the same."""
    ours = results.ours.copy()
    for each in chosen:
        ours.loc[each.rows, "variant"] = label_of(each.known)
        ours.loc[each.rows, "departures"] = pd.Series([each.known] * len(each.rows), each.rows)
    taken = ours.index.isin([row for each in chosen for row in each.rows])
    twice = ours.duplicated(list(KEY_COLUMNS), keep=False)
    return replace(results, ours=ours[taken | ~twice])


def show_summary(artefacts: Sequence[Table | Figure], console: Console) -> None:
    """Print of each artefact its title and how many of its rows have, and lack, numbers.

    Notes on rows that depart from the protocol follow.
    """
    tables = [each.digest if isinstance(each, Figure) else each for each in artefacts]
    lines = RichTable(box=None, padding=(0, 1), pad_edge=False, expand=True)
    lines.add_column("name", no_wrap=True, min_width=max(len(table.name) for table in tables))
    lines.add_column("what it shows", no_wrap=True, overflow="ellipsis", ratio=1)
    lines.add_column("rows there", no_wrap=True, justify="right")
    lines.add_column("missing", no_wrap=True, justify="right")
    for table in tables:
        rows = [row for block in table.blocks for row in block.rows]
        missing = sum(MISSING in row for row in rows)
        lines.add_row(*map(Text, (table.name, table.title, str(len(rows) - missing), str(missing))))
    console.print(lines)
    for table in tables:
        for note in table.notes:
            if note.startswith((LEFT_OUT, TAKEN_IN)):
                console.print(Text(f"{table.name}: {note}"), soft_wrap=True)


def _counted(rows: int) -> str:
    return f"{rows} row" if rows == 1 else f"{rows} rows"
