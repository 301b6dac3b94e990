"""Deep Q-learning: the lines beside Figure 2, and equizero's scores, from synthetic rows."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.frame.conf import CONF
from report.artefacts.dqn.tables import DATASETS, PAPERS_METHODS, REGIMES
from report.statistics import bootstrap_interval
from report.tables import Table
from tests.report.conftest import build_figure, build_table, dqn_rows, dqn_values

RUN = "python run.py experiment"
DASH = "\N{EN DASH}"
ABSENT = ("missing", "missing", "missing", "0", "", "", "")
MODERN = f"{RUN}=figure2 task.regime=modern scale=paper"


def build(tree: Any, **options: Any) -> Table:
    """The table beside Figure 2."""
    return build_figure(tree, "figure2", **options).digest


def block(table: Table, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block whose title has this text, by their first cell."""
    [found] = [block for block in table.blocks if title in block.title]
    return {line[0]: line[1:] for line in found.rows}


def test_a_known_order_is_found_in_every_five_seeds(tree: Any) -> None:
    tree.measured(dqn_rows(tree), task="dqn")
    table = build(tree)
    assert table.headers == (
        *("method", "mean (spread)", "IQM", "95 % interval", "n", "wins / ties / losses"),
        *("order in 5 seeds", f"seeds 0{DASH}4"),
    )
    interval = bootstrap_interval(dqn_values(0))
    assert interval is not None
    text = f"[{interval.low:.1f}, {interval.high:.1f}]"
    # The seeds are far apart, their differences are not.
    cells = ("[+3.0, +3.0]", "16", "16/0/0", "100.0 %")
    lines = block(table, "scale=paper, regime=reference, dataset=acrobot, step=70000")
    assert lines.pop("equizero")[0] == lines.pop("equitune")[0].replace("7", "4")
    assert [*lines.items()] == [
        ("pretrained", ("-350.0 (95.2)", "-350.0", text, "16", "", "", "-460.0 (31.6)")),
        ("equitune - pretrained", ("+3.0 (0.0)", "+3.0", *cells, "+3.0 (0.0)")),
        ("equizero - equitune", ("+3.0 (0.0)", "+3.0", *cells, "+3.0 (0.0)")),
        (
            "equizero - pretrained",
            ("+6.0 (0.0)", "+6.0", "[+6.0, +6.0]", *cells[1:], "+6.0 (0.0)"),
        ),
        ("the paper's order", ("", "", "", "16", "", "100.0 %", "yes")),
    ]


@pytest.mark.parametrize(
    ("dataset", "tie"), [("acrobot", 0.5), ("cartpole", 0.5), ("gridworld", 1e-6)]
)
def test_differences_within_the_tolerance_are_ties_and_show_no_order(
    tree: Any, dataset: str, tie: float
) -> None:
    for gap, *expected in (
        (tie, "0/16/0", "0.0 %", "no"),
        (1.02 * tie, "16/0/0", "100.0 %", "yes"),
    ):
        values = {method: [gap * rank] * 16 for rank, method in enumerate(PAPERS_METHODS)}
        rows = [row for name in values for row in tree.returns(values[name], name, dataset)]
        tree.measured(rows, task="dqn")
        lines = block(build(tree), f"regime=reference, dataset={dataset}")
        assert [lines["equizero - equitune"][4], *lines["the paper's order"][-2:]] == expected


def test_missing_rows_are_said_with_their_command(tree: Any) -> None:
    table = build(tree)
    assert len(table.blocks) == 6
    lines = block(table, "regime=modern, dataset=cartpole")
    assert lines["equizero"] == lines["equizero - pretrained"] == ABSENT
    assert lines["the paper's order"] == ("", "", "", "0", "", "", "")
    reference = f"{RUN}=figure2 task.regime=reference scale=paper"
    assert table.commands == (reference, MODERN)
    # Fifteen of sixteen seeds are not all.
    rows = [row for row in dqn_rows(tree) if row["dataset"] != "acrobot" or row["seed"] != "7"]
    tree.run("a", rows, task="dqn")
    assert build(tree).commands == (f"{reference} dataset=acrobot", MODERN)
    assert block(build(tree), "reference, dataset=acrobot")["pretrained"][3] == "15"
    rows = [*dqn_rows(tree), *dqn_rows(tree, variant="regime=modern")]
    tree.run("b", rows, task="dqn")
    assert build(tree).commands == ()


def test_one_seed_has_neither_spread_nor_interval(tree: Any) -> None:
    rows = [
        *tree.returns([0.25], "pretrained", "gridworld"),
        *tree.returns([0.5, 0.75], "equitune", "gridworld"),
        *tree.returns([9.0], "equitune", "gridworld", metric="return"),
    ]
    tree.run("a", rows, task="dqn")
    lines = block(build(tree), "regime=reference, dataset=gridworld")
    assert lines["pretrained"] == (f"0.2500 ({DASH})", "0.2500", DASH, "1", "", "", "")
    # The exact return, with four decimals, over the seeds that have both.
    difference = (f"+0.2500 ({DASH})", "+0.2500", DASH, "1", "1/0/0", "", "")
    assert lines["equitune - pretrained"] == difference
    assert lines["equizero"] == ABSENT


def test_other_regimes_and_a_demo_show_their_last_step_within_the_budget(tree: Any) -> None:
    returns, tuned = tree.returns, {"variant": "regime=tuned", "method": "equizero"}
    demo = {"scale": "demo", "method": "equitune", "dataset": "cartpole"}
    rows = [
        *(returns([1.0], dataset="cartpole", step=step, **tuned) for step in (40000, 50000)),
        *(returns([1.0], dataset="acrobot", step=step, **tuned) for step in (70000, 100000)),
        *(returns([1.0], step=step, **demo) for step in (4000, 12000)),
    ]
    tree.run("a", [row for part in rows for row in part], task="dqn")
    table = build(tree, scales=("paper", "demo"))
    assert [block.title for block in table.blocks[6:]] == [
        "scale=paper, regime=tuned, dataset=cartpole, step=50000",
        "scale=paper, regime=tuned, dataset=acrobot, step=70000",
        "scale=demo, regime=demo, dataset=gridworld, step=missing",
        "scale=demo, regime=demo, dataset=cartpole, step=12000",
        "scale=demo, regime=demo, dataset=acrobot, step=missing",
    ]
    assert table.commands[2:] == (
        f"{RUN}=figure2 task.regime=tuned scale=paper dataset=cartpole,acrobot",
        f"{RUN}=figure2 task.regime=demo scale=demo",
    )


def test_scores_are_compared_seed_by_seed(tree: Any) -> None:
    softmax = [10.0 * seed for seed in range(16)]
    raw = [value + (4.0 if seed % 2 else -2.0) for seed, value in enumerate(softmax)]
    tuned = {"variant": "regime=tuned", "step": 50000}
    rows = [
        *tree.returns(softmax, "equizero"),
        *tree.returns(raw, "equizero", variant="score=raw"),
        *tree.returns(softmax, "equizero", variant="regime=modern"),
        *tree.returns([1.0], "equizero", variant="regime=modern, score=raw"),
        # Neither another method, nor another step, nor a further regime without the raw score.
        *tree.returns([9.0], "equitune", variant="score=raw"),
        *tree.returns([9.0], "equizero", variant="score=raw", step=60000),
        *tree.returns([300.0], "equizero", "cartpole", **tuned),
    ]
    tree.measured(rows, task="dqn")
    table = build_table(tree, "dqn_scores")
    assert [block.title for block in table.blocks] == [
        f"scale=paper, regime={regime}, dataset={dataset}, step={step}"
        for regime in ("reference", "modern")
        for dataset, step in (("gridworld", 100000), ("cartpole", 100000), ("acrobot", 70000))
    ]
    [first, second, difference] = table.blocks[2].rows
    assert table.stub == ("score",)
    assert first[:3] == ("softmax", "75.0 (47.6)", "75.0") and second[:2] == ("raw", "76.0 (48.0)")
    assert difference[:3] == ("raw - softmax", "+1.0 (3.1)", "+1.0")
    assert difference[4:6] == ("16", "8/0/8")
    assert table.blocks[5].rows[2][1:6] == (f"+1.0 ({DASH})", "+1.0", DASH, "1", "1/0/0")
    assert table.blocks[0].rows[1][1:] == ABSENT
    assert table.commands == (
        f"{RUN}=figure2 method=equizero task.regime=reference scale=paper "
        "dataset=gridworld,cartpole",
        f"{RUN}=figure2_raw task.regime=reference scale=paper dataset=gridworld,cartpole",
        f"{RUN}=figure2 method=equizero task.regime=modern scale=paper dataset=gridworld,cartpole",
        f"{RUN}=figure2_raw task.regime=modern scale=paper",
    )
    tuned["variant"] = "regime=tuned, score=raw"
    tree.run("b", tree.returns([500.0], "equizero", "cartpole", **tuned), task="dqn")
    lines = block(build_table(tree, "dqn_scores"), "regime=tuned, dataset=cartpole, step=50000")
    assert lines["raw - softmax"][0] == f"+200.0 ({DASH})"
    assert build_table(tree, "dqn_scores", scales=("demo",)).commands == (
        f"{RUN}=figure2 method=equizero task.regime=demo scale=demo",
        f"{RUN}=figure2_raw task.regime=demo scale=demo",
    )


def test_what_is_known_of_an_environment_is_that_of_the_configuration() -> None:
    for name, data in DATASETS.items():
        conf = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
        assert (data.group, data.steps) == (conf.symmetry, conf.steps)
    for scale, regimes in REGIMES.items():
        assert OmegaConf.load(CONF / "task_scale" / f"dqn_{scale}.yaml").task.regime == regimes[0]
