"""The short form of artefacts for a terminal: a line for each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from report.artefacts.entry import LEFT_OUT, TAKEN_IN
from report.cells import MISSING
from report.figures import Figure
from report.tables import Table


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
