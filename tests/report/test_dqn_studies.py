"""Deep Q-learning beyond the paper: equizero's scores."""

from __future__ import annotations

from typing import Any

from report.artefacts.catalogue import ARTEFACTS
from report.options import Options
from report.results import load_results
from report.tables import Table

RAW = "experiment=figure2_raw"


def build(tree: Any, **options: Any) -> Table:
    """The artefact as the program builds it."""
    chosen = Options(**options)
    table = ARTEFACTS["dqn_scores"].build(load_results(tree.path, ("dqn",), chosen.scales), chosen)
    assert isinstance(table, Table)
    return table


def test_scores_are_compared_seed_by_seed(tree: Any) -> None:
    softmax = [10.0 * seed for seed in range(16)]
    raw = [value + (4.0 if seed % 2 else -2.0) for seed, value in enumerate(softmax)]
    rows = [
        *tree.returns(softmax, "equizero"),
        *tree.returns(raw, "equizero", variant="score=raw"),
        *tree.returns(softmax, "equizero", variant="regime=modern"),
        *tree.returns([1.0], "equizero", variant="regime=modern, score=raw"),
        # Neither another method nor another step.
        *tree.returns([9.0], "equitune", variant="score=raw"),
        *tree.returns([9.0], "equizero", variant="score=raw", step=60000),
    ]
    tree.measured(rows, task="dqn")
    table = build(tree)
    assert [block.title for block in table.blocks] == [
        f"scale=paper, regime={regime}, dataset={dataset}, step={step}"
        for regime in ("reference", "modern")
        for dataset, step in (("gridworld", 100000), ("cartpole", 100000), ("acrobot", 70000))
    ]
    [first, second, difference] = table.blocks[2].rows
    assert first[:3] == ("softmax", "75.0 (47.6)", "75.0") and first[4] == "16"
    assert second[:2] == ("raw", "76.0 (48.0)")
    assert difference[:3] == ("raw - softmax", "+1.0 (3.1)", "+1.0")
    assert difference[4:6] == ("16", "8/0/8")
    assert table.blocks[5].rows[2][1:6] == (
        *("+1.0 (\N{EN DASH})", "+1.0", "\N{EN DASH}", "1", "1/0/0"),
    )
    assert table.blocks[0].rows[1][1:5] == ("missing", "missing", "missing", "0")
    assert table.commands == (
        *(
            f"python run.py experiment=figure2 method=equizero task.regime={regime} scale=paper "
            "dataset=gridworld,cartpole"
            for regime in ("reference", "modern")
        ),
        f"python run.py {RAW} task.regime=reference scale=paper dataset=gridworld,cartpole",
        f"python run.py {RAW} task.regime=modern scale=paper",
    )


def test_a_further_regime_has_a_block_where_the_raw_score_was_tried(tree: Any) -> None:
    tuned = {"variant": "regime=tuned", "step": 50000}
    tree.run("a", tree.returns([300.0], "equizero", "cartpole", **tuned), task="dqn")
    assert len(build(tree).blocks) == 6
    tuned["variant"] = "regime=tuned, score=raw"
    tree.run("b", tree.returns([500.0], "equizero", "cartpole", **tuned), task="dqn")
    block = build(tree).blocks[6]
    assert block.title == "scale=paper, regime=tuned, dataset=cartpole, step=50000"
    assert block.rows[2][1] == "+200.0 (\N{EN DASH})"


def test_a_demo_has_one_regime(tree: Any) -> None:
    demo = {"scale": "demo", "step": 12000}
    tree.run("a", tree.returns([5.0, 6.0], "equizero", "cartpole", **demo), task="dqn")
    table = build(tree, scales=("demo",))
    assert [block.labels["regime"] for block in table.blocks] == ["demo"] * 3
    assert table.commands[1] == f"python run.py {RAW} task.regime=demo scale=demo"
