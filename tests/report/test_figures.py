"""Figures: Figure 10 of SCAN from synthetic rows, its drawing and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Drawing
from rich.console import Console

from experiments.frame.methods import METHODS
from report.cells import Number
from report.figures import Figure
from report.plots.curves import Curve, LineLook, Look, Panel, draw_curves
from report.plots.panels import BLUE, Errors, plain_mark, seeds_note, spread_errors, spread_mark
from report.plots.words import plain, plain_options, plain_protocol
from report.tables import Table
from tests.report.conftest import assert_fits, build_figure, drawn

STEPS = range(0, 3001, 200)
COMMAND = "python run.py experiment=figure10"


def build(tree: Any, **options: Any) -> Figure:
    """The figure as the program builds it."""
    return build_figure(tree, "figure10", **options)


def curve(tree: Any, start: float, slope: float, **changes: Any) -> list[dict[str, str]]:
    """Rows of three seeds, one point apart, on a straight line over the iterations."""
    return [
        row
        for step in STEPS
        for row in tree.rows(
            [start + slope * step + seed for seed in range(3)], **({"step": step} | changes)
        )
    ]


def everything(tree: Any) -> list[dict[str, str]]:
    """Rows of all curves of both protocols."""
    return [
        row
        for protocol in ("reference", "paper")
        for model in ("LSTM", "GRU", "RNN")
        for method in ("equitune", "equizero", "lambda_equitune")
        for row in curve(tree, 50.0, 0.01, protocol=protocol, model=model, method=method)
    ]


def test_numbers_are_means_spreads_and_counts_and_the_digest_has_four_steps(tree: Any) -> None:
    tree.measured([*curve(tree, 70.0, 0.005)[:-1], tree.row(50.0, model="RNN", step=200)])
    figure = build(tree)
    columns = ("scale", "protocol", "dataset", "model", "method", "step", "mean", "spread", "n")
    assert figure.headers == columns
    names = ("paper", "paper", "add_jump")
    assert figure.rows[0] == (*names, "LSTM", "equizero", "0", "71.0", "1.0", "3")
    assert figure.rows[5] == (*names, "LSTM", "equizero", "1000", "76.0", "1.0", "3")
    assert figure.rows[15] == (*names, "LSTM", "equizero", "3000", "85.5", repr(0.5**0.5), "2")
    assert figure.rows[16:] == ((*names, "RNN", "equizero", "200", "50.0", "", "1"),)
    reference = build(tree, spread="reference")
    assert float(reference.rows[0][7]) == pytest.approx(0.8**0.5)
    table = figure.digest
    assert table.title == "Figure 10: test accuracy on SCAN against iterations of fine-tuning"
    steps = tuple(f"step {step}" for step in (0, 1000, 2000, 3000))
    assert table.headers == ("model", "method", *steps, "n")
    [block] = [block for block in table.blocks if block.labels["protocol"] == "paper"]
    assert block.title == "scale=paper, protocol=paper, dataset=add_jump"
    assert len(block.rows) == 9
    cells = ("71.0 (1.0)", "76.0 (1.0)", "81.0 (1.0)", "85.5 (0.7)", "2\N{EN DASH}3")
    assert block.rows[0] == ("LSTM", "equizero", *cells)
    assert block.rows[1] == ("LSTM", "equitune", *["missing"] * 4, "0")
    assert block.rows[6] == ("RNN", "equizero", *["missing"] * 4, "1")
    for words in (
        "prints Figure 10 as a picture without numbers",
        "band: mean \N{PLUS-MINUS SIGN}",
    ):
        assert any(words in note for note in table.notes)
    assert table.commands == tuple(
        f"{COMMAND} protocol={protocol} scale=paper" for protocol in ("reference", "paper")
    )


def test_nothing_is_missing_where_add_jump_is_complete(tree: Any) -> None:
    tree.measured(everything(tree))
    figure = build(tree)
    assert figure.digest.commands == ()
    assert [block.labels["dataset"] for block in figure.digest.blocks] == ["add_jump"] * 2
    assert len(figure.rows) == 18 * len(STEPS)
    further = {"dataset": "around_right", "group": "direction"}
    tree.run("a", curve(tree, 50.0, 0.01, **further))
    figure = build(tree)
    assert figure.digest.commands == ()
    assert [len(block.rows) for block in figure.digest.blocks] == [9, 9, 1]
    tree.run("b", [tree.row(50.0, method="equitune", step=200, **further)])
    assert build(tree).digest.commands == (
        f"{COMMAND} protocol=paper scale=paper dataset=around_right",
    )


def test_a_seed_that_would_count_twice_is_refused(tree: Any) -> None:
    path = tree.measured([tree.row(70.0, step="200"), tree.row(71.0, step="0200")])
    with pytest.raises(ValueError) as caught:
        build(tree)
    assert str(caught.value).startswith(
        f"{path}:3: a second row for seed '0' in a cell (they differ in step"
    )


def test_a_demo_shows_thirds_of_its_own_steps(tree: Any) -> None:
    tree.run("a", [tree.row(step, step=step, scale="demo") for step in range(0, 70, 10)])
    table = build(tree, scales=("demo",)).digest
    assert table.headers[2:6] == ("step 0", "step 20", "step 40", "step 60")
    assert f"{COMMAND} protocol=paper scale=demo" in table.commands


def test_panels_are_models_and_rows_are_data_sets_and_protocols_with_rows(tree: Any) -> None:
    tree.measured(everything(tree))
    tree.run("a", curve(tree, 50.0, 0.01, dataset="around_right", group="direction"))
    drawing = drawn(build(tree))
    panels = drawing.axes
    reference, paper = (
        f"protocol {name}"
        for name in ("reference (as the authors' code)", "paper (as the paper says)")
    )
    assert [axes.get_title() for axes in panels] == [
        *(f"{model}, add jump\n{reference}" for model in ("LSTM", "GRU", "RNN")),
        *(f"{model}, add jump\n{paper}" for model in ("LSTM", "GRU", "RNN")),
        f"LSTM, around right\n{paper}",
    ]
    assert [len(axes.lines) for axes in panels] == [*[3] * 6, 1]
    assert {axes.get_xlabel() for axes in panels} == {"iterations of fine-tuning"}
    assert {axes.get_ylabel() for axes in panels[::3]} == {"test accuracy (%)"}
    # Methods have their own colours, and differ in style too.
    lines = panels[3].lines
    shown = [METHODS[name] for name in ("equizero", "equitune", "lambda_equitune")]
    assert [to_hex(line.get_color()).upper() for line in lines] == [m.colour for m in shown]
    dashes = [line._dash_pattern[1] for line in lines]  # type: ignore[attr-defined]
    assert len({str(each) for each in dashes}) == 3
    assert list(lines[0].get_xdata()) == list(STEPS)
    assert list(lines[0].get_ydata()) == [51.0 + 0.01 * step for step in STEPS]
    [legend] = drawing.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["equitune", "equizero", "\N{GREEK SMALL LETTER LAMDA}-equitune"]
    assert (
        legend.get_title()
        .get_text()
        .startswith(
            "n = 3 seeds; band: \N{PLUS-MINUS SIGN} one standard deviation over seeds; the paper"
        )
    )


def test_the_band_is_one_spread_to_each_side(tree: Any) -> None:
    summaries = Number(50.0, 4.0, 3), Number(60.0, 2.0, 3), Number(70.0, None, 1)
    points = dict(zip((0.0, 100.0, 200.0), map(spread_mark, summaries), strict=True))
    lines = dict.fromkeys(("equizero", "equitune"), LineLook(BLUE, "solid"))
    look = Look(lines, "x", "y", spread_errors("band", "sample"), y_limits=(0, 100))
    drawing = draw_curves([[Panel("one", [Curve("equizero", points)])]], look)
    [axes] = drawing.axes
    [band] = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(0, 46), (0, 54), (100, 58), (100, 62), (200, 70)}
    assert axes.get_ylim() == (-2, 102)
    # The legend has what is drawn.
    assert [text.get_text() for text in drawing.legends[0].get_texts()] == ["equizero"]


def test_a_note_says_what_a_reader_needs() -> None:
    errors = Errors("bar: many", "bar: one")
    assert seeds_note([3, 3, None], errors) == "n = 3 seeds; bar: many"
    assert seeds_note([1], errors) == "n = 1 seed; bar: one"
    assert seeds_note([1], Errors("bar: many")) == "n = 1 seed"
    assert seeds_note([1, 3], errors) == "n = 1\N{EN DASH}3 seeds; bar: many; where n = 1, bar: one"
    assert seeds_note([None], errors) == ""


def test_panels_that_end_apart_say_so() -> None:
    panels = [
        Panel("one", [Curve("equizero", {0.0: plain_mark(1.0), end: plain_mark(2.0)})])
        for end in (500.0, 4000.0)
    ]
    look = Look({"equizero": LineLook(BLUE, "solid")}, "steps", "y", Errors(""))
    for shown, text in ((panels, "panels end at different steps: 500, 4000"), (panels[:1], "")):
        [legend] = draw_curves([shown], look).legends
        assert legend.get_title().get_text() == text


def test_names_have_plain_words_where_there_are_some() -> None:
    assert (plain("cifar100"), plain("own_data")) == ("CIFAR-100", "own_data")
    assert plain_protocol("own") == "protocol own"
    assert plain_options("finetune.steps=500, finetune.learning_rate=1e-05, draw=image, text") == (
        "fine-tuned for 500 steps, learning rate 1e-05, draw=image, text"
    )


def test_a_single_point_is_seen(tree: Any) -> None:
    tree.run("a", [*curve(tree, 50.0, 0.01), tree.row(70.0, model="RNN", step=200)])
    lines = [line for axes in drawn(build(tree)).axes for line in axes.lines]
    assert [line.get_marker() for line in lines] == ["", "o"]


def test_the_whole_legend_and_all_labels_are_inside(tree: Any) -> None:
    for complete in (False, True):
        tree.measured(everything(tree) if complete else everything(tree)[: 9 * 3 * len(STEPS)])
        drawing = drawn(build(tree))
        assert_fits(drawing)
        assert len(drawing.axes) == (6 if complete else 3)


def small(rows: tuple[tuple[str, ...], ...]) -> Figure:
    """A figure of no task, with a few words of each kind."""
    digest = Table(
        "small", "A small figure", (), (), (), ("mean \N{PLUS-MINUS SIGN}",), ("make it",)
    )

    def draw() -> Drawing:
        drawing = Drawing(figsize=(5, 2.5), layout="constrained")
        drawing.subplots().plot([0, 1], [0, 1])
        return drawing

    return Figure(digest, ("x",), rows, draw)


LATEX = (
    "% needs \\usepackage{graphicx}\n\\begin{figure}\n\\centering\n"
    "\\includegraphics[width=\\linewidth,height=0.7\\textheight,keepaspectratio]{small.pdf}\n"
    "\\caption{A small figure.}\n\\label{fig:small}\n"
    "\\par\\smallskip\\parbox{\\linewidth}{\\footnotesize mean $\\pm$.}\n"
    "\\end{figure}\n% missing cells: make it\n"
)


def test_files_are_written_with_the_same_bytes_twice(tmp_path: Path, capsys: Any) -> None:
    figure = small((("1",),))
    figure.show(Console(width=100))
    assert capsys.readouterr().out.startswith("A small figure\n- mean")
    first = figure.write(tmp_path / "new" / "a")
    # Settings of the user do not change the picture.
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 20.0}):
        second = figure.write(tmp_path / "b")
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
    names = [f"small.{ending}" for ending in ("csv", "md", "tex", "png", "pdf", "svg")]
    assert [path.name for path in first] == [path.name for path in second] == names
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    picture, document = first[3].read_bytes(), first[4].read_bytes()
    assert document.startswith(b"%PDF") and b"CreationDate" not in document
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    assert (width, height) == (200 * 5, 200 * 2.5)
    assert first[0].read_text() == "x\n1\n"
    assert first[1].read_text().startswith("![small](small.png)\n\n### A small figure\n\n- mean")
    assert first[2].read_text() == LATEX


def test_without_rows_there_is_no_picture(tmp_path: Path) -> None:
    assert (tmp_path / "small.png") in small((("1",),)).write(tmp_path)
    paths = small(()).write(tmp_path)
    assert [path.name for path in paths] == ["small.csv", "small.md", "small.tex"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert "small.png" not in paths[1].read_text()
    assert "includegraphics" not in paths[2].read_text()
