"""The four faces of a table."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from report.faces import escape_latex
from report.tables import Block, ColumnGroup, Table, to_csv, to_latex, to_markdown

TABLE = Table(
    name="small",
    title="A small table",
    stub=("method",),
    groups=(ColumnGroup("add_jump", ("test", "n")), ColumnGroup("b", ("test",))),
    blocks=(
        Block(
            {"scale": "paper", "protocol": "reference"}, (("lambda_equitune", "7.1†", "3", "a|b"),)
        ),
        Block(
            {"scale": "paper", "protocol": "paper"},
            (("[bold]", "7.1 (\N{EN DASH})", "1", "missing"),),
        ),
    ),
    notes=("50 % & more",),
    commands=("python run.py -m experiment=small",),
)


def test_csv_has_the_labels_as_columns() -> None:
    assert to_csv(TABLE) == (
        "scale,protocol,method,add_jump: test,add_jump: n,b: test\n"
        "paper,reference,lambda_equitune,7.1†,3,a|b\n"
        "paper,paper,[bold],7.1 (\N{EN DASH}),1,missing\n"
    )


def test_markdown() -> None:
    assert to_markdown(TABLE) == (
        "### A small table\n\n"
        "**scale=paper, protocol=reference**\n\n"
        "| method | add_jump: test | add_jump: n | b: test |\n"
        "| --- | --- | --- | --- |\n"
        "| lambda_equitune | 7.1† | 3 | a\\|b |\n\n"
        "**scale=paper, protocol=paper**\n\n"
        "| method | add_jump: test | add_jump: n | b: test |\n"
        "| --- | --- | --- | --- |\n"
        "| [bold] | 7.1 (\N{EN DASH}) | 1 | missing |\n\n"
        "- 50 % & more\n\n"
        "Missing cells are produced by:\n\n"
        "```sh\npython run.py -m experiment=small\n```\n"
    )


def test_latex() -> None:
    assert to_latex(TABLE).splitlines() == [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\small",
        r"\setlength{\tabcolsep}{4pt}",
        r"\caption{A small table.}",
        r"\label{tab:small}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{llll}",
        r"\toprule",
        r" & \multicolumn{2}{c}{add\_jump} & \multicolumn{1}{c}{b} \\",
        r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}",
        r"method & test & n & test \\",
        r"\midrule",
        r"\multicolumn{4}{l}{scale=paper, protocol=reference} \\",
        r"lambda\_equitune & 7.1$^{\dagger}$ & 3 & a\textbar{}b \\",
        r"\midrule",
        r"\multicolumn{4}{l}{scale=paper, protocol=paper} \\",
        r"{[}bold{]} & 7.1 (--) & 1 & missing \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip\parbox{\linewidth}{\footnotesize 50 \% \& more.}",
        r"\end{table}",
        r"% missing cells: python run.py -m experiment=small",
    ]


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
    assert "scale=paper, protocol=reference: add_jump" in text
    assert "    python run.py -m experiment=small\n" in text


def test_three_files_are_written(tmp_path: Path) -> None:
    paths = TABLE.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["small.csv", "small.md", "small.tex"]
    assert paths[0].read_text(encoding="utf-8") == to_csv(TABLE)


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
