"""The CNN task: accuracy of pretrained networks as they are, from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.frame.methods import own_group
from report.artefacts.cnn.common import GROUP, Way
from report.artefacts.cnn.tables import MODELS, PROTOCOL, SOURCES, UNTRAINED
from report.tables import Table
from tests.report.conftest import build_table, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
COMMAND = "python run.py experiment=cnn_zero_shot"
DASH = "\N{EN DASH}"
ENTROPY = Way("equizero", "entropy")


def build(tree: Any, **options: Any) -> Table:
    """The artefact as the program builds it."""
    return build_table(tree, "cnn_zero_shot", **options)


def block(table: Table, title: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by their method and loss."""
    return lines_of(table, title, 2)


def estimate(tree: Any, mean: float, half: float, **columns: Any) -> list[Any]:
    """A mean and its interval."""
    metric = columns.pop("metric")
    ends = {"": mean, "_low": mean - half, "_high": mean + half}
    return [tree.row(value, metric=metric + end, **columns) for end, value in ends.items()]


def evaluated(
    tree: Any, way: Way, turns: tuple[float, ...], gain: float, rest: str = "", **changes: Any
) -> list[Any]:
    """Rows of one evaluation without training."""
    loss = "" if way.loss in ("", "max_probability") else f"loss={way.loss}"
    common = {
        **{"task": "cnn", "dataset": "cifar100", "model": "ResNet20", "transform": "rot90"},
        **{"method": way.method, "group": own_group(way.method, GROUP)},
        "variant": ", ".join(part for part in ("training=none", loss, rest) if part),
    } | changes
    accuracy = common | {"metric": "top1_accuracy"}
    rows = [
        *estimate(tree, turns[0], 1.0, **(accuracy | {"transform": "none"})),
        *estimate(tree, sum(turns) / 4, 0.5, **accuracy),
        tree.row(0.25, **common | {"metric": "equivariance_error", "transform": "none"}),
    ]
    for view, value in enumerate(turns):
        rows += estimate(tree, value, 1.0, view=view, **accuracy)
    if way.method != "equitune":
        rows += estimate(tree, gain, 0.75, **(common | {"metric": "over_equitune"}))
    return rows


def everything(tree: Any, **changes: Any) -> list[Any]:
    """Rows of the whole preset for one network."""
    turns = (70.0, 50.0, 40.0, 52.0)
    return [row for way in UNTRAINED for row in evaluated(tree, way, turns, -2.0, **changes)]


def test_turns_means_and_differences_have_their_columns(tree: Any) -> None:
    rows = [
        *evaluated(tree, Way("pretrained"), (70.0, 50.0, 40.0, 52.0), -7.0),
        *evaluated(tree, Way("equitune"), (60.0, 60.0, 60.0, 60.0), 0.0),
        *evaluated(tree, ENTROPY, (64.0, 64.0, 64.0, 64.0), 4.0),
    ]
    tree.measured(rows, task="cnn")
    table = build(tree)
    assert table.headers == (
        *("method", "loss", "upright", "by 90", "by 180", "by 270", "mean over turns"),
        *("over equitune", "equivariance error"),
    )
    lines = block(
        table, "scale=paper, protocol=paper, dataset=cifar100, model=ResNet20, variant=none"
    )
    assert list(lines) == [
        *(("pretrained", ""), ("equitune", ""), ("equizero", "max probability")),
        *(("equizero", "entropy"), ("equizero", "reversed")),
    ]
    assert lines["pretrained", ""] == (
        *("70.0", "50.0", "40.0", "52.0", "53.0 [52.5, 53.5]", "-7.0 [-7.8, -6.2]", "0.25"),
    )
    assert lines["equitune", ""][4:6] == ("60.0 [59.5, 60.5]", DASH)
    assert lines[ENTROPY.cells][5] == "+4.0 [+3.2, +4.8]"
    assert lines["equizero", "max probability"] == ("missing",) * 7
    assert table.commands == tuple(f"{COMMAND} scale=paper model={model}" for model in MODELS)


def test_nothing_is_missing_once_all_is_there(tree: Any) -> None:
    tree.run("a", [row for model in MODELS for row in everything(tree, model=model)], task="cnn")
    table = build(tree)
    assert [block.labels["model"] for block in table.blocks] == list(MODELS)
    assert table.commands == ()


def test_given_weights_have_a_block_of_their_own_without_missing_lines(tree: Any) -> None:
    given = {"rest": "mean=[0.5, 0.5, 0.5], checkpoint=2d711642", "dataset": "cifar10"}
    rows = evaluated(tree, ENTROPY, (90.0,) * 4, 3.0, **given)
    rows += evaluated(tree, Way("equitune"), (80.0,) * 4, 0.0, **given)
    tree.run("a", [*rows, *everything(tree)], task="cnn")
    table = build(tree)
    common = "scale=paper, protocol=paper, dataset"
    lines = block(table, f"{common}=cifar10, model=ResNet20, variant={given['rest']}")
    assert {names: line[0] for names, line in lines.items()} == {
        ("equitune", ""): "80.0",
        ENTROPY.cells: "90.0",
    }
    assert (
        "missing"
        not in block(table, f"{common}=cifar100, model=ResNet20, variant=none")[ENTROPY.cells]
    )
    assert table.commands == (f"{COMMAND} scale=paper model=SmallAlexNet",)


def test_the_first_seed_stands_for_all(tree: Any) -> None:
    rows = evaluated(tree, ENTROPY, (64.0,) * 4, 4.0, seed=10)
    rows += evaluated(tree, ENTROPY, (65.0,) * 4, 4.0, seed=2)
    tree.run("a", rows, task="cnn")
    assert build(tree).blocks[0].rows[3][2] == "65.0"


def test_what_differs_from_the_preset_is_in_the_command(tree: Any) -> None:
    trained = evaluated(tree, ENTROPY, (64.0,) * 4, 4.0)
    for row in trained:
        row["variant"] = "loss=entropy"
    demo = {"scale": "demo", "dataset": "letters"}
    reference = {"protocol": "reference", "split": "train", "dataset": "cifar10"}
    rows = [
        *trained,
        *evaluated(tree, Way("equitune"), (64.0,) * 4, 4.0, **demo),
        *evaluated(tree, Way("equitune"), (64.0,) * 4, 4.0, **reference),
    ]
    tree.run("a", rows, task="cnn")
    table = build(tree, scales=("paper", "demo"))
    assert table.commands == (
        f"{COMMAND} scale=paper protocol=reference dataset=cifar10 model=ResNet20",
        f"{COMMAND} scale=paper model=SmallAlexNet",
        f"{COMMAND} scale=demo dataset=letters model=ResNet20",
        f"{COMMAND} scale=demo dataset=letters model=SmallAlexNet",
    )


def test_the_preset_is_what_the_table_expects() -> None:
    preset = OmegaConf.load(CONF / "experiment" / "cnn_zero_shot.yaml")
    assert preset.task.training == "none"
    assert {"override /dataset": SOURCES["paper"]} in preset.defaults
    params = preset.hydra.sweeper.params
    assert tuple(params.model.split(",")) == MODELS and str(params.seed) == "0"
    task = OmegaConf.load(CONF / "task" / "cnn.yaml")
    assert {"override /protocol@_global_.protocol": PROTOCOL} in task.defaults
    assert task.pretrain.dataset == SOURCES["paper"]
    demo = OmegaConf.load(CONF / "task_scale" / "cnn_demo.yaml")
    assert demo.task.pretrain.dataset == SOURCES["demo"]
    arms = [OmegaConf.load(CONF / "arm" / f"{arm}.yaml") for arm in params.arm.split(",")]
    assert sorted(
        (arm.defaults[0]["override /method"], OmegaConf.select(arm, "task.loss") or "")
        for arm in arms
    ) == sorted(map(tuple, UNTRAINED))
