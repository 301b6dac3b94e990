"""The four faces of a table."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from rich.console import Console

from report.faces import escape_latex, render
from report.tables import Block, ColumnGroup, Table, to_csv, to_latex, to_markdown

TABLE = Table(
    name="small",
    title="A small table",
    stub=("method",),
    groups=(ColumnGroup("add_jump", ("test", "n")), ColumnGroup("b", ("test",))),
    blocks=(
        Block({"protocol": "reference"}, (("lambda_equitune", "7.1†", "3", "a|b"),)),
        Block({"protocol": "paper"}, (("[bold]", "7.1 (\N{EN DASH})", "1", "missing"),)),
    ),
    notes=("50 % & more",),
    commands=("python run.py -m experiment=small",),
)


CSV = """\
protocol,method,add_jump: test,add_jump: n,b: test
reference,lambda_equitune,7.1†,3,a|b
paper,[bold],7.1 (\N{EN DASH}),1,missing
"""
MARKDOWN = """\
### A small table

**protocol=reference**

| method | add_jump: test | add_jump: n | b: test |
| --- | --- | --- | --- |
| lambda_equitune | 7.1† | 3 | a\\|b |

**protocol=paper**

| method | add_jump: test | add_jump: n | b: test |
| --- | --- | --- | --- |
| [bold] | 7.1 (\N{EN DASH}) | 1 | missing |

- 50 % & more

Missing cells are produced by:

```sh
python run.py -m experiment=small
```
"""
LATEX = r"""% needs \usepackage{booktabs,graphicx}
\begin{table}
\centering\small
\setlength{\tabcolsep}{4pt}
\caption{A small table.}
\label{tab:small}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{llll}
\toprule
 & \multicolumn{2}{c}{add\_jump} & \multicolumn{1}{c}{b} \\
\cmidrule(lr){2-3}\cmidrule(lr){4-4}
method & test & n & test \\
\midrule
\multicolumn{4}{l}{protocol=reference} \\
lambda\_equitune & 7.1$^{\dagger}$ & 3 & a\textbar{}b \\
\midrule
\multicolumn{4}{l}{protocol=paper} \\
{[}bold{]} & 7.1 (--) & 1 & missing \\
\bottomrule
\end{tabular}}
\par\smallskip\parbox{\linewidth}{\footnotesize 50 \% \& more.}
\end{table}
% missing cells: python run.py -m experiment=small
"""


def test_the_files_of_a_table(tmp_path: Path) -> None:
    paths = TABLE.write(tmp_path / "new" / "folder")
    faces = {"small.csv": CSV, "small.md": MARKDOWN, "small.tex": LATEX}
    assert {path.name: path.read_text(encoding="utf-8") for path in paths} == faces


def test_labels_are_columns_of_csv_and_a_title_elsewhere() -> None:
    block = Block({"scale": "paper", "protocol": "paper"}, TABLE.blocks[0].rows)
    table = replace(TABLE, blocks=(block,))
    assert to_csv(table).startswith("scale,protocol,method,")
    assert "**scale=paper, protocol=paper**" in to_markdown(table)


def test_a_long_table_breaks_over_pages_and_repeats_its_head() -> None:
    block = Block({"scale": "paper"}, (("pretrained", "0.0", "3", "1.0"),) * 40)
    lines = to_latex(replace(TABLE, blocks=(block,))).splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs,longtable}"
    assert lines.count(r"method & test & n & test \\") == 2
    assert lines.index(r"\endfirsthead") < lines.index(r"\endhead") < lines.index(r"\bottomrule")
    assert lines.count(r"pretrained & 0.0 & 3 & 1.0 \\") == 40
    assert r"\noindent \footnotesize 50 \% \& more.\par" in lines
    assert not [line for line in lines if "tabular}" in line or "{table}" in line]


def test_latex_escapes_each_special_character_once() -> None:
    assert escape_latex("\\{}") == r"\textbackslash{}\{\}"
    assert escape_latex("a_b^c~d#e$f") == r"a\_b\textasciicircum{}c\textasciitilde{}d\#e\$f"


def test_the_terminal_shows_text_as_it_is() -> None:
    stream = io.StringIO()
    TABLE.show(Console(file=stream, width=100))
    text = stream.getvalue()
    assert "[bold]" in text and "7.1†" in text and "a|b" in text
    assert "protocol=reference: add_jump" in text
    assert "    python run.py -m experiment=small\n" in text


def test_a_template_that_lacks_a_value_is_refused() -> None:
    with pytest.raises(UndefinedError, match="'table' is undefined"):
        render("table.md")


def test_a_row_that_does_not_fit_the_header_is_refused() -> None:
    with pytest.raises(ValueError, match="bad: a row of 1 cells under 2 headers"):
        Table("bad", "", ("a", "b"), (), (Block({}, (("1",),)),))


def test_on_a_terminal_headers_break_before_cells_and_nothing_is_lost() -> None:
    variant = "finetune.rate=scripts, finetune.weight_decay=0.0"
    headers = tuple(f"a rather long header {number}" for number in range(4))
    row = (variant, *("12.3 (4.5)" for _ in headers))
    table = Table("wide", "", ("variant",), (ColumnGroup("", headers),), (Block({}, (row,)),))
    stream = io.StringIO()
    table.show(Console(file=stream, width=110))
    text = stream.getvalue()
    assert variant in text and text.count("12.3 (4.5)") == 4
    narrow = io.StringIO()
    table.show(Console(file=narrow, width=90))
    assert "\N{HORIZONTAL ELLIPSIS}" not in narrow.getvalue()
    assert "finetune.weight_decay=0.0" in narrow.getvalue()


def test_a_block_without_rows_has_its_headers() -> None:
    stream = io.StringIO()
    table = Table("none", "", ("method",), (ColumnGroup("", ("test",)),), (Block({}, ()),))
    table.show(Console(file=stream, width=60))
    assert "method" in stream.getvalue()


def test_a_wide_table_has_a_part_for_each_titled_group() -> None:
    groups = (ColumnGroup("", ("cost",)), ColumnGroup("A", ("x", "y")), ColumnGroup("B", ("z",)))
    rows = (("a", *"1234"), ("b", "1", "not run", "3", "not run"), ("c", "1", *["not run"] * 3))
    table = Table("t", "T", ("method",), groups, (Block({}, rows),))
    assert table.parts(5) == [table]
    first, second = table.parts(4)
    assert first.names == ("method", "cost", "x", "y") and second.names == ("method", "cost", "z")
    # Without the rows that no column of the group has a run for.
    assert first.blocks[0].rows == (("a", *"123"), ("b", "1", "not run", "3"))
    assert second.blocks[0].rows == (("a", "1", "4"),)


def test_columns_without_room_stand_below_and_no_word_breaks() -> None:
    headers = tuple(f"header{number}" for number in range(9))
    rows = tuple((name, *headers) for name in ("lambda_equitune", "augmented_equitune"))
    table = Table("wide", "", ("method",), (ColumnGroup("", headers),), (Block({}, rows),))
    stream = io.StringIO()
    table.show(Console(file=stream, width=60))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    words = [word for line in lines for word in line.split()]
    assert all(words.count(header) == 3 for header in headers)
    assert words.count("augmented_equitune") == words.count("method") == 3  # in each of the parts
