"""Deep Q-learning: Figure 2 and the gain against the training step, from synthetic rows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf

from report.artefacts.dqn.common import COLOURS, DATASETS, PAPERS_METHODS, REGIMES, SEEDS
from report.figures import Figure
from report.statistics import bootstrap_interval
from tests.report.conftest import build_figure, drawn

CONF = Path(__file__).resolve().parents[2] / "conf"
COMMAND = "python run.py experiment=figure2"
DASH = "\N{EN DASH}"
# Sixteen seeds far apart, as those of acrobot are; the methods are three apart in each.
BASE = [-500.0 + 20.0 * seed for seed in range(16)]
ORDERED = {method: [value + 3.0 * rank for value in BASE] for rank, method in enumerate(COLOURS)}


def build(tree: Any, name: str = "figure2", **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, name, **options)


def block(figure: Figure, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block whose title has this text, by their first cell."""
    [found] = [block for block in figure.digest.blocks if title in block.title]
    return {line[0]: line[1:] for line in found.rows}


def ordered(tree: Any, *datasets: str, **changes: Any) -> list[dict[str, str]]:
    """Rows of the paper's methods, in its order in every seed."""
    return [
        row
        for dataset in datasets or DATASETS
        for method in PAPERS_METHODS
        for row in tree.returns(ORDERED[method], method, dataset, **changes)
    ]


def everything(tree: Any) -> list[dict[str, str]]:
    """Rows of both regimes and all environments."""
    return [*ordered(tree), *ordered(tree, variant="regime=modern")]


def test_a_known_order_is_found_in_every_five_seeds(tree: Any) -> None:
    tree.measured(ordered(tree), task="dqn")
    figure = build(tree)
    assert figure.digest.headers == (
        *("method", "mean (spread)", "IQM", "95 % interval", "n", "wins / ties / losses"),
        *("order in 5 seeds", f"seeds 0{DASH}4"),
    )
    lines = block(figure, "scale=paper, regime=reference, dataset=acrobot, step=70000")
    interval = bootstrap_interval(BASE)
    assert interval is not None
    text = f"[{interval.low:.1f}, {interval.high:.1f}]"
    assert lines["pretrained"] == (
        *("-350.0 (95.2)", "-350.0", text, "16", "", "", "-460.0 (31.6)"),
    )
    assert lines["equizero"][0] == "-344.0 (95.2)"
    # The seeds are far apart, their differences are not.
    wins = ("16", "16/0/0", "100.0 %")
    assert lines["equitune - pretrained"] == (
        *("+3.0 (0.0)", "+3.0", "[+3.0, +3.0]", *wins, "+3.0 (0.0)"),
    )
    assert lines["equizero - equitune"][3:6] == wins
    assert lines["equizero - pretrained"][0] == "+6.0 (0.0)"
    assert lines["the paper's order"] == ("", "", "", "16", "", "100.0 %", "yes")
    assert list(lines)[3:] == [
        *("equitune - pretrained", "equizero - equitune", "equizero - pretrained"),
        "the paper's order",
    ]


def test_differences_within_the_tolerance_are_ties_and_show_no_order(tree: Any) -> None:
    for dataset, tie in (("acrobot", 0.5), ("cartpole", 0.5), ("gridworld", 1e-6)):
        for gap, wins in ((tie, "0/16/0"), (1.02 * tie, "16/0/0")):
            values = {method: [gap * rank] * 16 for rank, method in enumerate(PAPERS_METHODS)}
            rows = [row for name in values for row in tree.returns(values[name], name, dataset)]
            tree.measured(rows, task="dqn")
            lines = block(build(tree), f"regime=reference, dataset={dataset}")
            assert lines["equizero - equitune"][4] == wins
            answer = ("0.0 %", "no") if wins[0] == "0" else ("100.0 %", "yes")
            assert lines["the paper's order"][-2:] == answer


def test_gridworld_shows_its_exact_return_with_four_decimals(tree: Any) -> None:
    rows = tree.returns([0.7315, 0.7305], "pretrained", "gridworld")
    episodes = tree.returns([0.5, 0.6], "pretrained", "gridworld", metric="return")
    tree.run("a", [*rows, *episodes], task="dqn")
    lines = block(build(tree), "regime=reference, dataset=gridworld")
    assert lines["pretrained"][:2] == ("0.7310 (0.0007)", "0.7310")


def test_missing_rows_are_said_with_their_command(tree: Any) -> None:
    figure = build(tree)
    assert figure.rows == ()
    assert len(figure.digest.blocks) == 6
    absent = ("missing", "missing", "missing", "0", "", "", "")
    lines = block(figure, "regime=modern, dataset=cartpole")
    assert lines["equizero"] == lines["equizero - pretrained"] == absent
    assert lines["the paper's order"] == ("", "", "", "0", "", "", "")
    modern = f"{COMMAND} task.regime=modern scale=paper"
    assert figure.digest.commands == (f"{COMMAND} task.regime=reference scale=paper", modern)
    # Fifteen of sixteen seeds are not all.
    rows = [row for row in ordered(tree) if row["dataset"] != "acrobot" or row["seed"] != "7"]
    tree.run("a", rows, task="dqn")
    figure = build(tree)
    assert figure.digest.commands == (
        f"{COMMAND} task.regime=reference scale=paper dataset=acrobot",
        modern,
    )
    assert block(figure, "reference, dataset=acrobot")["pretrained"][3] == "15"
    tree.run("b", everything(tree), task="dqn")
    assert build(tree).digest.commands == ()


def test_one_seed_has_neither_spread_nor_interval(tree: Any) -> None:
    rows = [tree.returns([100.0 * rank], name, "cartpole") for rank, name in enumerate(COLOURS)]
    tree.run("a", [row for part in rows for row in part], task="dqn")
    figure = build(tree)
    lines = block(figure, "regime=reference, dataset=cartpole")
    assert lines["equitune"] == (f"100.0 ({DASH})", "100.0", DASH, "1", "", "", "")
    assert lines["equizero - equitune"] == (
        *(f"+100.0 ({DASH})", "+100.0", DASH, "1", "1/0/0", "", ""),
    )
    assert lines["the paper's order"] == ("", "", "", "1", "", "", "")
    # A method beyond the paper's has a line where it has rows.
    assert lines["lambda_equitune"][0] == f"300.0 ({DASH})"
    assert figure.rows[1][4:] == ("pretrained", "", "0.0", "", "", "1")
    [axes] = drawn(figure).axes
    assert len(axes.collections) == 4 + 4


def test_differences_take_the_seeds_that_have_both(tree: Any) -> None:
    rows = [*tree.returns([1.0, 2.0, 3.0], "pretrained"), *tree.returns([5.0, 9.0], "equitune")]
    tree.run("a", rows, task="dqn")
    lines = block(build(tree), "regime=reference, dataset=acrobot")
    assert lines["equitune - pretrained"][:4] == ("+5.5 (2.1)", "+5.5", "[+4.0, +7.0]", "2")


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "score=raw"},
        {"variant": "regime=modern, score=raw"},
        {"variant": "recipe.steps=70000"},
        {"step": "60000"},
        {"step": "80000"},
        {"group": "dihedral"},
        {"metric": "episode_length"},
        {"split": "validation"},
        {"dataset": "pendulum"},
        {"model": "mine"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", tree.returns([1.0, 2.0], "equizero", **changes), task="dqn")
    assert build(tree).rows == ()


def test_a_regime_of_another_budget_shows_its_last_step_within_the_papers(tree: Any) -> None:
    tuned = {"variant": "regime=tuned", "method": "equizero"}
    rows = [
        *tree.returns([1.0], dataset="cartpole", step=40000, **tuned),
        *tree.returns([2.0], dataset="cartpole", step=50000, **tuned),
        *tree.returns([3.0], dataset="acrobot", step=70000, **tuned),
        *tree.returns([4.0], dataset="acrobot", step=100000, **tuned),
    ]
    tree.run("a", rows, task="dqn")
    figure = build(tree)
    titles = [block.title for block in figure.digest.blocks]
    assert titles[6:] == [
        "scale=paper, regime=tuned, dataset=cartpole, step=50000",
        "scale=paper, regime=tuned, dataset=acrobot, step=70000",
    ]
    assert [line[6] for line in figure.rows if line[5]] == ["2.0", "3.0"]
    assert figure.digest.commands[-1] == (
        f"{COMMAND} task.regime=tuned scale=paper dataset=cartpole,acrobot"
    )


def test_a_demo_shows_its_last_step_and_its_regime_has_no_label(tree: Any) -> None:
    demo = {"scale": "demo", "method": "equitune", "dataset": "cartpole"}
    rows = [*tree.returns([5.0], step=4000, **demo), *tree.returns([6.0], step=12000, **demo)]
    tree.run("a", rows, task="dqn")
    figure = build(tree, scales=("demo",))
    assert [block.title for block in figure.digest.blocks] == [
        "scale=demo, regime=demo, dataset=gridworld, step=missing",
        "scale=demo, regime=demo, dataset=cartpole, step=12000",
        "scale=demo, regime=demo, dataset=acrobot, step=missing",
    ]
    assert figure.digest.commands == (f"{COMMAND} task.regime=demo scale=demo",)
    assert [axes.get_title() for axes in drawn(figure).axes] == [
        "cartpole, regime demo, 12k steps",
    ]


def test_the_numbers_are_the_seeds_and_their_mean(tree: Any) -> None:
    tree.run("a", tree.returns([1.0, 2.0, 4.0], "equizero")[::-1], task="dqn")
    tree.run("b", [tree.returns([9.0], "equizero")[0] | {"seed": "10"}], task="dqn")
    figure = build(tree)
    assert figure.headers == (
        *("scale", "regime", "dataset", "step", "method"),
        *("seed", "return", "low", "high", "n"),
    )
    names = ("paper", "reference", "acrobot", "70000", "equizero")
    interval = bootstrap_interval([1.0, 2.0, 4.0, 9.0])
    assert interval is not None
    assert figure.rows == (
        (*names, "0", "1.0", "", "", ""),
        (*names, "1", "2.0", "", "", ""),
        (*names, "2", "4.0", "", "", ""),
        (*names, "10", "9.0", "", "", ""),
        (*names, "", "4.0", repr(interval.low), repr(interval.high), "4"),
    )


def test_panels_are_regimes_by_environments(tree: Any) -> None:
    tuned = ordered(tree, "cartpole", variant="regime=tuned", step=50000)
    tree.measured([*everything(tree), *tuned], task="dqn")
    drawing = drawn(build(tree))
    assert [axes.get_title() for axes in drawing.axes] == [
        "gridworld, regime reference, 100k steps",
        "cartpole, regime reference, 100k steps",
        "acrobot, regime reference, 70k steps",
        "gridworld, regime modern, 100k steps",
        "cartpole, regime modern, 100k steps",
        "acrobot, regime modern, 70k steps",
        "cartpole, regime tuned, 50k steps",
    ]
    # It stands below the others of its environment.
    assert drawing.axes[6].get_subplotspec().colspan == range(1, 2)  # type: ignore[union-attr]
    assert [axes.get_ylabel() for axes in drawing.axes[::3]] == ["return"] * 3
    labels = [label.get_text() for label in drawing.axes[0].get_xticklabels()]
    assert labels == list(PAPERS_METHODS)
    points = [line for line in drawing.axes[2].lines if line.get_marker() == "o"]
    assert [to_hex(point.get_color()).upper() for point in points] == list(COLOURS.values())[:3]
    assert [float(point.get_ydata()[0]) for point in points] == [-350.0, -347.0, -344.0]
    seeds = drawing.axes[2].collections[0].get_offsets()
    assert sorted(float(place[1]) for place in seeds) == BASE  # type: ignore[union-attr]


def test_labels_are_inside_and_apart(tree: Any) -> None:
    both = [*everything(tree), *tree.returns(ORDERED["lambda_equitune"], "lambda_equitune")]
    tree.run("a", both, task="dqn")
    tree.run("b", ordered(tree, scale="demo"), task="dqn")
    for options in ({}, {"scales": ("paper", "demo")}):
        for name in ("figure2", "figure2_training"):
            drawing = drawn(build(tree, name, **options))
            width, height = drawing.canvas.get_width_height()
            titles = [axes.title.get_window_extent() for axes in drawing.axes]
            boxes = [axes.get_tightbbox() for axes in drawing.axes]
            for box in [*titles, *boxes, *(each.get_window_extent() for each in drawing.legends)]:
                assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert not any(
                one.overlaps(other) for one in titles for other in titles if one is not other
            )
            for axes in drawing.axes if name == "figure2" else ():
                ticks = [label.get_window_extent() for label in axes.get_xticklabels()]
                assert all(one.x1 < other.x0 for one, other in pairwise(ticks))


def test_files_have_the_same_bytes_twice(tree: Any, tmp_path: Path) -> None:
    tree.measured(everything(tree)[::-1], task="dqn")
    names = ("figure2", "figure2_training")
    first = [path for name in names for path in build(tree, name).write(tmp_path / "a")]
    # Neither does the order of the rows matter.
    tree.measured(everything(tree), task="dqn")
    second = [path for name in names for path in build(tree, name).write(tmp_path / "b")]
    assert len(first) == len(second) == 12
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_what_is_known_of_an_environment_is_that_of_the_configuration() -> None:
    for name, data in DATASETS.items():
        conf = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
        assert (data.group, data.steps) == (conf.symmetry, conf.steps)
    for scale, regimes in REGIMES.items():
        assert OmegaConf.load(CONF / "task_scale" / f"dqn_{scale}.yaml").task.regime == regimes[0]
    sweep = OmegaConf.load(CONF / "experiment" / "figure2.yaml").hydra.sweeper.params
    assert tuple(sweep["task.regime"].split(",")) == REGIMES["paper"]
    assert tuple(sweep["method"].split(",")) == PAPERS_METHODS
    assert tuple(sweep["dataset"].split(",")) == tuple(DATASETS)
    assert len(str(sweep["seed"]).split(",")) == SEEDS
