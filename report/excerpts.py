"""Parts of tables inside pages of text: the page says which, the rows say what stands there.

    <!-- table table2+table8 protocol=paper columns='add_jump: test;n': written by ... -->
    <!-- end of table -->

asks for the lines of Tables 2 and 8 with protocol `paper`, and for two columns of them. A label may
have several texts: `model=GRU;RNN`. Lines in which all these columns were not run are left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from report.cells import NOT_RUN
from report.faces import escape_markdown
from report.tables import Table

_PLACE = re.compile(
    r"^(<!-- table (?P<asked>[^\n]+): written by scripts/readme\.py -->\n)"
    r"(?:(?!^<!-- table ).)*?^(<!-- end of table -->\n)",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"^<!-- (?:table |end of table)", re.MULTILINE)


def fill_tables(path: Path, text: str, table: Callable[[str], Table]) -> str:
    """A page with the tables that it asks for.

    Args:
        path: The page, for messages.
        text: What stands there, in Markdown.
        table: Makes the table of a name; a KeyError if there is none.

    Raises:
        ValueError: An unknown table, label or column, no line that has the labels, or a table
            without one of its two marks.
    """

    def filled(place: re.Match[str]) -> str:
        begin, end = place[1], place[3]
        return f"{begin}\n{_excerpt(place['asked'], table)}\n{end}"

    try:
        made, count = _PLACE.subn(filled, text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(_MARK.findall(text)) != 2 * count:
        raise ValueError(f"{path}: a table lacks its first or its last mark")
    return made


def _excerpt(asked: str, table: Callable[[str], Table]) -> str:
    names, *words = shlex.split(asked)
    pairs = (word.partition("=")[::2] for word in words)
    where = {name: texts.split(";") for name, texts in pairs}
    columns = where.pop("columns", [])
    lines: list[dict[str, str]] = []
    for name in names.split("+"):
        try:
            found = table(name)
        except KeyError:
            raise ValueError(f"a page asks for the table {name!r}, which is not known") from None
        named, *rows = found.flat
        if lines and lines[0].keys() != {"table", *named}:
            raise ValueError(f"a page joins tables of different columns: {names}")
        own = [{"table": name} | dict(zip(named, row, strict=True)) for row in rows]
        _refuse_unknown(name, [*where, *columns], ["table", *named])
        lines += [line for line in own if all(line[name] in where[name] for name in where)]
    lines = [line for line in lines if {line[name] for name in columns} != {NOT_RUN}]
    absent = [
        text for name in where for text in where[name] if all(line[name] != text for line in lines)
    ]
    if absent or not lines:
        raise ValueError(f"no line has {', '.join(absent) or 'numbers'}: {asked}")
    # Names of lines that tell nothing apart are left out.
    grouped = slice(len(found.stub), None)
    stub = ["table", *(name for name in named if name not in found.headers[grouped])]
    head = [name for name in stub if len({line[name] for line in lines}) > 1]
    head += columns or found.headers[grouped]
    # The title of a group is left out where all columns are of one.
    short = dict(zip(found.headers[grouped], found.names[grouped], strict=True))
    titles = {name.removesuffix(short[name]) for name in head if name in short}
    shown = (short.get(name, name) if len(titles) == 1 else name for name in head)
    return markdown(shown, ([line[name] for name in head] for line in lines))


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The lines of a table as Markdown."""
    names = [*map(escape_markdown, head)]
    lines = [names, ["---"] * len(names), *([*map(escape_markdown, row)] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _refuse_unknown(name: str, asked: Iterable[str], known: list[str]) -> None:
    for each in asked:
        if each not in known:
            raise ValueError(
                f"a page asks for {each!r} of {name}; choose from: {', '.join(sorted(known))}"
            )
