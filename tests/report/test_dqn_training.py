"""Deep Q-learning: the gain of each method against the training step, from synthetic rows."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import to_hex

from report.artefacts.catalogue import ARTEFACTS
from report.artefacts.dqn.common import COLOURS
from report.figures import Figure, house_style
from report.options import Options
from report.results import load_results

BASE = [-500.0, -480.0, -460.0]


def build(tree: Any) -> Figure:
    """The artefact as the program builds it."""
    results = load_results(tree.path, ("dqn",))
    figure = ARTEFACTS["figure2_training"].build(results, Options())
    assert isinstance(figure, Figure)
    return figure


def block(figure: Figure, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block whose title has this text, by their first cell."""
    [found] = [block for block in figure.digest.blocks if title in block.title]
    return {line[0]: line[1:] for line in found.rows}


def test_gains_are_paired_means_with_their_intervals(tree: Any) -> None:
    steps = (50000, 60000, 70000)
    rows = [
        row
        for step in steps
        for method, rank in (("pretrained", 0), ("equitune", 1), ("equizero", -1))
        for row in tree.returns(
            [value + rank * (step / 10000 + seed) for seed, value in enumerate(BASE)],
            method,
            step=step,
        )
    ]
    tree.run("a", rows[:-1], task="dqn")
    figure = build(tree)
    assert figure.headers == (
        *("scale", "regime", "dataset", "method", "step", "gain", "low", "high", "n"),
    )
    names = ("paper", "reference", "acrobot")
    assert figure.rows[0] == (*names, "equitune", "50000", "6.0", "5.0", "7.0", "3")
    assert figure.rows[5] == (*names, "equizero", "70000", "-7.5", "-8.0", "-7.0", "2")
    assert figure.digest.headers == ("step", "equitune", "equizero", "n")
    assert block(figure, "regime=reference, dataset=acrobot") == {
        "50000": ("+6.0 [+5.0, +7.0]", "-6.0 [-7.0, -5.0]", "3"),
        "60000": ("+7.0 [+6.0, +8.0]", "-7.0 [-8.0, -6.0]", "3"),
        "70000": ("+8.0 [+7.0, +9.0]", "-7.5 [-8.0, -7.0]", "3/2"),
    }
    assert block(figure, "regime=modern, dataset=acrobot") == {
        "missing": ("missing", "missing", "0"),
    }
    assert not any("spread" in note for note in figure.digest.notes)


def test_gains_are_drawn_in_thousands_of_steps_about_a_line_at_zero(tree: Any) -> None:
    ranks = {"pretrained": 0.0, "equitune": 3.0, "equizero": 6.0}
    rows = [
        row
        for step in (50000, 60000)
        for method, rank in ranks.items()
        for row in tree.returns([value + rank for value in BASE], method, "cartpole", step=step)
    ]
    tree.run("a", [*rows, *tree.returns([1.0, 2.0], "equizero", "gridworld")], task="dqn")
    with house_style():
        drawing = build(tree).draw()
    [axes] = drawing.axes
    assert axes.get_title() == "cartpole, regime reference"
    assert axes.get_xlabel() == "training steps (thousands)"
    assert axes.get_ylabel() == "gain in return over pretrained"
    zero, equitune, equizero = axes.lines
    assert list(zero.get_ydata()) == [0.0, 0.0]
    assert list(equitune.get_xdata()) == [50.0, 60.0]
    assert list(equitune.get_ydata()) == [3.0, 3.0] and list(equizero.get_ydata()) == [6.0, 6.0]
    # Where two curves lie on each other, both are seen.
    assert equitune.get_linestyle() != equizero.get_linestyle()
    [legend] = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == ["equitune", "equizero"]
    assert [to_hex(line.get_color()) for line in legend.get_lines()] == [
        to_hex(COLOURS["equitune"]),
        to_hex(COLOURS["equizero"]),
    ]
