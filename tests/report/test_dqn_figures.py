"""Deep Q-learning: Figure 2 and the gain against the training step, from synthetic rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from matplotlib.colors import to_hex

from experiments.frame.methods import METHODS, PAPERS
from report.artefacts.dqn.tables import PAPERS_METHODS
from report.statistics import bootstrap_interval
from tests.report.conftest import assert_fits, build_figure, dqn_rows, dqn_values, drawn, lines_of

BOTH = ("figure2", "figure2_training")
ACROBOT = ("paper", "reference", "acrobot")


def test_the_numbers_are_the_seeds_and_their_mean(tree: Any) -> None:
    tree.run("a", tree.returns([1.0, 2.0, 4.0], "equizero")[::-1], task="dqn")
    tree.run("b", [tree.returns([9.0], "equizero")[0] | {"seed": "10"}], task="dqn")
    tree.run("c", tree.returns([5.0], "pretrained"), task="dqn")
    figure = build_figure(tree, "figure2")
    assert figure.headers == (
        *("scale", "regime", "dataset", "step", "method"),
        *("seed", "return", "low", "high", "n"),
    )
    alone, names = (*ACROBOT, "70000", "pretrained"), (*ACROBOT, "70000", "equizero")
    interval = bootstrap_interval([1.0, 2.0, 4.0, 9.0])
    assert interval is not None
    assert figure.rows == (
        (*alone, "0", "5.0", "", "", ""),
        (*alone, "", "5.0", "", "", "1"),
        (*names, "0", "1.0", "", "", ""),
        (*names, "1", "2.0", "", "", ""),
        (*names, "2", "4.0", "", "", ""),
        (*names, "10", "9.0", "", "", ""),
        (*names, "", "4.0", repr(interval.low), repr(interval.high), "4"),
    )


def test_panels_are_regimes_by_environments(tree: Any) -> None:
    tuned = dqn_rows(tree, "cartpole", variant="regime=tuned", step=50000)
    modern = dqn_rows(tree, variant="regime=modern")
    tree.measured([*dqn_rows(tree), *modern, *tuned], task="dqn")
    drawing = drawn(build_figure(tree, "figure2"))
    assert [axes.get_title() for axes in drawing.axes] == [
        "gridworld, 100k steps\nregime reference (learns after 50000 steps)",
        "cartpole, 100k steps\nregime reference (learns after 50000 steps)",
        "acrobot, 70k steps\nregime reference (learns after 50000 steps)",
        "gridworld, 100k steps\nregime modern (learns after 100 steps)",
        "cartpole, 100k steps\nregime modern (learns after 100 steps)",
        "acrobot, 70k steps\nregime modern (learns after 100 steps)",
        "cartpole, 50k steps\nregime tuned",
    ]
    # It stands below the others of its environment.
    assert drawing.axes[6].get_subplotspec().colspan == range(1, 2)  # type: ignore[union-attr]
    assert [axes.get_ylabel() for axes in drawing.axes[::3]] == ["return"] * 3
    labels = [label.get_text() for label in drawing.axes[0].get_xticklabels()]
    assert labels == list(PAPERS_METHODS)
    points = [line for line in drawing.axes[2].lines if line.get_marker() == "o"]
    colours = [METHODS[method].colour for method in PAPERS_METHODS]
    assert [to_hex(point.get_color()).upper() for point in points] == colours
    assert [float(point.get_ydata()[0]) for point in points] == [-350.0, -347.0, -344.0]
    seeds = drawing.axes[2].collections[0].get_offsets()
    assert sorted(float(place[1]) for place in seeds) == dqn_values(0)  # type: ignore[union-attr]


def test_small_differences_look_small_and_equal_seeds_are_apart(tree: Any) -> None:
    rows = [*tree.returns([0.73, 0.731], "equizero"), *tree.returns([0.732] * 9, "equitune")]
    tree.run("a", rows, task="dqn")
    drawing = drawn(build_figure(tree, "figure2"))
    [axes] = drawing.axes
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(0.05 * 0.732)
    places = axes.collections[0].get_offsets()
    assert len({round(float(place[0]), 6) for place in places}) == 9  # type: ignore[union-attr]
    note = drawing.legends[0].get_title().get_text().replace("\n", " ")
    assert note.startswith("n = 2\N{EN DASH}9 seeds; large dot and bar: mean and 95 % bootstrap")
    assert "span at least 5 % of their values" in note and "acrobot: the return" in note


@pytest.mark.parametrize("scales", [("paper",), ("paper", "demo")])
@pytest.mark.parametrize("name", BOTH)
def test_labels_are_inside_and_apart(tree: Any, name: str, scales: tuple[str, ...]) -> None:
    learned = tree.returns(dqn_values(3), "lambda_equitune")
    modern = dqn_rows(tree, variant="regime=modern")
    tree.run("a", [*dqn_rows(tree), *modern, *learned], task="dqn")
    tree.run("b", dqn_rows(tree, scale="demo"), task="dqn")
    drawing = drawn(build_figure(tree, name, scales=scales))
    assert_fits(drawing)
    for axes in drawing.axes if name == "figure2" else ():
        ticks = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(one.x1 < other.x0 for one, other in pairwise(ticks))


def test_gains_are_paired_means_with_their_intervals(tree: Any) -> None:
    rows = [
        row
        for step in (50000, 60000, 70000)
        for method, rank in (("pretrained", 0), ("equitune", 1), ("equizero", -1))
        for row in tree.returns(
            [value + rank * (step / 10000 + seed) for seed, value in enumerate(dqn_values(0)[:3])],
            method,
            step=step,
        )
    ]
    tree.run("a", rows[:-1], task="dqn")
    figure = build_figure(tree, "figure2_training")
    assert figure.headers == (
        *("scale", "regime", "dataset", "method", "step", "gain", "low", "high", "n"),
    )
    assert figure.rows[0] == (*ACROBOT, "equitune", "50000", "6.0", "5.0", "7.0", "3")
    assert figure.rows[5] == (*ACROBOT, "equizero", "70000", "-7.5", "-8.0", "-7.0", "2")
    digest = figure.digest
    assert digest.headers == ("step", "equitune", "equizero", "n")
    assert lines_of(digest, "scale=paper, regime=reference, dataset=acrobot", 1) == {
        ("50000",): ("+6.0 [+5.0, +7.0]", "-6.0 [-7.0, -5.0]", "3"),
        ("60000",): ("+7.0 [+6.0, +8.0]", "-7.0 [-8.0, -6.0]", "3"),
        ("70000",): ("+8.0 [+7.0, +9.0]", "-7.5 [-8.0, -7.0]", "3/2"),
    }
    assert lines_of(digest, "scale=paper, regime=modern, dataset=acrobot", 1) == {
        ("missing",): ("missing", "missing", "0"),
    }
    assert not any("spread" in note for note in digest.notes)
    # They lack seeds, as Figure 2 does.
    assert digest.commands == build_figure(tree, "figure2").digest.commands


def test_gains_are_drawn_in_thousands_of_steps_about_a_line_at_zero(tree: Any) -> None:
    rows = [row for s in (50000, 60000) for row in dqn_rows(tree, "cartpole", step=s)]
    tree.run("a", [*rows, *tree.returns([1.0, 2.0], "equizero", "gridworld")], task="dqn")
    drawing = drawn(build_figure(tree, "figure2_training"))
    [axes] = drawing.axes
    assert axes.get_title() == "cartpole\nregime reference (learns after 50000 steps)"
    assert axes.get_xlabel() == "training steps (thousands)"
    assert axes.get_ylabel() == "gain in return over pretrained"
    zero, equitune, equizero = axes.lines
    assert list(zero.get_ydata()) == [0.0, 0.0]
    assert list(equitune.get_xdata()) == [50.0, 60.0]
    assert list(equitune.get_ydata()) == [3.0, 3.0] and list(equizero.get_ydata()) == [6.0, 6.0]
    # Where two curves lie on each other, both are seen.
    assert equitune.get_linestyle() != equizero.get_linestyle()
    [legend] = drawing.legends
    assert "equitune and equizero agree" in legend.get_title().get_text().replace("\n", " ")
    assert [text.get_text() for text in legend.get_texts()] == ["equitune", "equizero"]
    colours = [to_hex(line.get_color()).upper() for line in legend.get_lines()]
    assert colours == [METHODS[method].colour for method in ("equitune", "equizero")]


def test_further_methods_are_shown_where_they_have_rows(tree: Any, soft_choice: str) -> None:
    every = [*dqn_rows(tree), *dqn_rows(tree, variant="regime=modern")]
    values = dqn_values(3)
    further = [tree.returns(values, PAPERS[-1]), tree.returns(values[:8], soft_choice)]
    tree.run("a", [*every, *(row for part in further for row in part)], task="dqn")
    returns, gains = (build_figure(tree, name) for name in BOTH)
    assert returns.digest.commands == gains.digest.commands == ()
    block = "scale=paper, regime=reference, dataset=acrobot, step=70000"
    assert [name for (name,) in lines_of(returns.digest, block, 1)][3:5] == [
        PAPERS[-1],
        soft_choice,
    ]
    assert gains.digest.headers == ("step", *PAPERS[1:], soft_choice, "n")
    columns = [
        [label.get_text() for label in axes.get_xticklabels()] for axes in drawn(returns).axes
    ]
    # Elsewhere they have no column.
    assert columns.count([*PAPERS[:-1]]) == len(columns) - 1
    every = [f"{name} (16)" for name in (*PAPERS[:-1], "λ-equitune")]
    assert [*every, f"{METHODS[soft_choice].label} (8)"] in columns
    [legend] = drawn(gains).legends
    assert [text.get_text() for text in legend.get_texts()][-1] == METHODS[soft_choice].label
