"""Tables inside pages of text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from report.excerpts import fill_tables
from report.tables import Block, ColumnGroup, Table

GROUPS = (ColumnGroup("here", ("test", "n")), ColumnGroup("there", ("test", "low, high")))
TABLES = {
    name: Table(
        name,
        "A table",
        ("method",),
        GROUPS,
        (
            Block({"protocol": "paper"}, (("a|b", f"{name} 1", "3", "2", "0"), ("c", *"4567"))),
            Block({"protocol": "reference"}, (("c", *"8901"),)),
        ),
    )
    for name in ("one", "two")
}
PLACE = "text\n\n<!-- table {}: written by scripts/readme.py -->\n{}<!-- end of table -->\n\nmore\n"


def filled(page: str) -> str:
    return fill_tables(Path("page.md"), page, TABLES.__getitem__)


def lines(asked: str) -> list[str]:
    """The lines of what a page that asks for something shows, after the second time too."""
    page = filled(PLACE.format(asked, "old\n"))
    assert filled(page) == page
    assert page.startswith("text\n") and page.endswith("\nmore\n") and "old" not in page
    return [line for line in page.splitlines() if line.startswith("|")]


def test_lines_and_columns_are_chosen() -> None:
    """Names that tell nothing apart are left out, as is the title of all columns."""
    assert lines("one protocol=paper columns='there: test;there: low, high'") == [
        "| method | test | low, high |",
        "| --- | --- | --- |",
        r"| a\|b | 2 | 0 |",
        "| c | 6 | 7 |",
    ]
    assert lines("one method=c")[::2] == [
        "| protocol | here: test | here: n | there: test | there: low, high |",
        "| paper | 4 | 5 | 6 | 7 |",
    ]


def test_a_line_without_a_run_in_the_columns_is_left_out() -> None:
    page = PLACE.format("one columns='here: test'", "")
    blocks = (Block({}, (("a", "1", *"234"), ("b", "not run", *"234"))),)
    made = fill_tables(Path("page.md"), page, lambda _: replace(TABLES["one"], blocks=blocks))
    assert [line for line in made.splitlines() if line.startswith("|")][2:] == ["| 1 |"]


def test_tables_are_joined() -> None:
    found = lines("one+two method='a|b' columns='here: n'")
    assert found == ["| table | n |", "| --- | --- |", "| one | 3 |", "| two | 3 |"]


@pytest.mark.parametrize(
    ("asked", "message"),
    {
        "three": "the table 'three', which is not known",
        "one model=LSTM": "'model' of one; choose from: here: n, .*, method, protocol, table, ",
        "one columns=m": "'m' of one; choose from: ",
        "one method=d": "page.md: no line has d: one method=d",
        "one method=c;d": "no line has d: one method=c;d",
    }.items(),
)
def test_what_is_not_there_is_one_line(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        lines(asked)
    assert "\n" not in str(caught.value)


def test_several_tables_of_a_page_are_filled() -> None:
    page = PLACE.format("one columns='here: n'", "") + PLACE.format("two columns='here: n'", "")
    made = filled(page)
    assert made.count("| paper | a\\|b | 3 |") == 2
    assert made.count("more") == 2


@pytest.mark.parametrize("lost", ["<!-- end of table -->\n", ": written by scripts/readme.py"])
def test_a_page_that_lacks_a_mark_is_refused_and_loses_nothing(lost: str) -> None:
    one, other = PLACE.format("one", "old\n"), PLACE.format("two", "old\n")
    for page in (one.replace(lost, "") + other, one + other.replace(lost, "")):
        with pytest.raises(ValueError, match=r"page\.md: a table lacks its first or its last mark"):
            filled(page)
