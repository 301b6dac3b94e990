"""The CNN task beyond the paper: networks as they are, larger groups, short runs."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from experiments.frame.conf import CONF
from experiments.frame.methods import own_group
from report.artefacts.cnn.tables import GROUP, SOURCES
from report.tables import Table
from tests.report.conftest import build_table, lines_of

COMMAND = "python run.py experiment=cnn_zero_shot"
DASH = "\N{EN DASH}"
MODELS = ("ResNet20", "SmallAlexNet")
PRETRAINED, EQUITUNE, ENTROPY = ("pretrained", ""), ("equitune", ""), ("equizero", "entropy")
WAYS = (
    *(PRETRAINED, EQUITUNE, ("equizero", "max_probability"), ENTROPY),
    ("equizero", "reversed_max_probability"),
)
COMMON = "scale=paper, protocol=paper, dataset"
PRESET = f"{COMMON}=cifar100, model=ResNet20, variant=none"


def block(table: Table, labels: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of a block, by their method and loss."""
    return lines_of(table, labels, 2)


def evaluated(
    tree: Any,
    way: tuple[str, str],
    turns: tuple[float, ...],
    gain: float = 0.0,
    rest: str = "",
    **changes: Any,
) -> list[Any]:
    """Rows of one evaluation without training."""
    method, loss = way
    label = "" if loss in ("", "max_probability") else f"loss={loss}"
    common = {
        **{"task": "cnn", "dataset": "cifar100", "model": "ResNet20", "transform": "rot90"},
        **{"method": method, "group": own_group(method, GROUP)},
        "variant": ", ".join(part for part in ("training=none", label, rest) if part),
    } | changes
    accuracy = common | {"metric": "top1_accuracy"}
    rows = [
        *tree.estimates([turns[0]], 1.0, **(accuracy | {"transform": "none"})),
        *tree.estimates([sum(turns) / 4], 0.5, **accuracy),
        tree.row(0.25, **common | {"metric": "equivariance_error", "transform": "none"}),
    ]
    for view, value in enumerate(turns):
        rows += tree.estimates([value], 1.0, view=view, **accuracy)
    if method != "equitune":
        rows += tree.estimates([gain], 0.75, **(common | {"metric": "over_equitune"}))
    return rows


def everything(tree: Any, **changes: Any) -> list[Any]:
    """Rows of the whole preset for one network."""
    return [row for way in WAYS for row in evaluated(tree, way, (70.0,) * 4, **changes)]


def test_turns_means_and_differences_have_their_columns(tree: Any) -> None:
    rows = [
        *evaluated(tree, PRETRAINED, (70.0, 50.0, 40.0, 52.0), -7.0),
        *evaluated(tree, EQUITUNE, (60.0,) * 4),
        *evaluated(tree, ENTROPY, (64.0,) * 4, 4.0, seed=2),
        # The first seed stands for all.
        *evaluated(tree, ENTROPY, (65.0,) * 4, 4.0, seed=10),
    ]
    tree.measured(rows, task="cnn")
    table = build_table(tree, "cnn_zero_shot")
    assert table.headers == (
        *("method", "loss", "upright", "by 90", "by 180", "by 270", "mean over turns"),
        *("over equitune", "equivariance error"),
    )
    lines = block(table, PRESET)
    assert lines == {
        PRETRAINED: (
            *("70.0", "50.0", "40.0", "52.0", "53.0 [52.5, 53.5]", "-7.0 [-7.8, -6.2]", "0.25"),
        ),
        EQUITUNE: ("60.0", "60.0", "60.0", "60.0", "60.0 [59.5, 60.5]", DASH, "0.25"),
        ("equizero", "max probability"): ("missing",) * 7,
        ENTROPY: ("64.0",) * 4 + ("64.0 [63.5, 64.5]", "+4.0 [+3.2, +4.8]", "0.25"),
        ("equizero", "reversed"): ("missing",) * 7,
    }
    assert [*lines] == [
        *(PRETRAINED, EQUITUNE, ("equizero", "max probability"), ENTROPY),
        ("equizero", "reversed"),
    ]
    assert table.commands == tuple(f"{COMMAND} scale=paper model={model}" for model in MODELS)
    tree.run("a", [row for model in MODELS for row in everything(tree, model=model)], task="cnn")
    table = build_table(tree, "cnn_zero_shot")
    assert [block.labels["model"] for block in table.blocks] == list(MODELS)
    assert table.commands == ()


def test_given_weights_have_a_block_of_their_own_without_missing_lines(tree: Any) -> None:
    given = {"rest": "mean=[0.5, 0.5, 0.5], checkpoint=2d711642", "dataset": "cifar10"}
    rows = evaluated(tree, ENTROPY, (90.0,) * 4, 3.0, **given)
    rows += [row for row in evaluated(tree, EQUITUNE, (80.0,) * 4, **given) if not row["view"]]
    tree.run("a", [*rows, *everything(tree)], task="cnn")
    table = build_table(tree, "cnn_zero_shot")
    lines = block(table, f"{COMMON}=cifar10, model=ResNet20, variant={given['rest']}")
    assert {names: line[:2] for names, line in lines.items()} == {
        EQUITUNE: ("80.0", "missing"),
        ENTROPY: ("90.0", "90.0"),
    }
    assert "missing" not in block(table, PRESET)[ENTROPY]
    # Nobody but its author knows how to complete it.
    assert table.commands == (f"{COMMAND} scale=paper model=SmallAlexNet",)


def test_what_differs_from_the_preset_is_in_the_command(tree: Any) -> None:
    reference = {"protocol": "reference", "split": "train", "dataset": "cifar10"}
    rows = [
        # Trained.
        *(row | {"variant": "loss=entropy"} for row in evaluated(tree, ENTROPY, (64.0,) * 4)),
        *evaluated(tree, EQUITUNE, (64.0,) * 4, scale="demo", dataset=SOURCES["demo"]),
        *evaluated(tree, EQUITUNE, (64.0,) * 4, **reference),
    ]
    tree.run("a", rows, task="cnn")
    assert build_table(tree, "cnn_zero_shot", scales=("paper", "demo")).commands == (
        f"{COMMAND} scale=paper model=SmallAlexNet",
        f"{COMMAND} scale=paper protocol=reference dataset=cifar10 model=ResNet20",
        f"{COMMAND} scale=demo dataset=letters model=ResNet20",
        f"{COMMAND} scale=demo dataset=letters model=SmallAlexNet",
    )
    assert OmegaConf.load(CONF / "task" / "cnn.yaml").pretrain.dataset == SOURCES["paper"]
    demo = OmegaConf.load(CONF / "task_scale" / "cnn_demo.yaml")
    assert demo.task.pretrain.dataset == SOURCES["demo"]


def test_a_further_method_is_shown_where_it_has_rows(tree: Any, soft_choice: str) -> None:
    tree.run("a", everything(tree), task="cnn")
    tree.run("b", evaluated(tree, (soft_choice, "entropy"), (90.0,) * 4), task="cnn")
    table = build_table(tree, "cnn_zero_shot")
    assert [*block(table, PRESET)][-1] == (soft_choice, "entropy")
    assert table.commands == (f"{COMMAND} scale=paper model=SmallAlexNet",)
    assert len(table.blocks[1].rows) == len(WAYS)


def test_larger_groups_and_short_runs_are_shown_and_nothing_else(tree: Any) -> None:
    common: dict[str, Any] = {
        **{"task": "cnn", "dataset": "cifar10", "model": "ResNet20", "method": "equitune"},
        **{"group": "mirror", "transform": "rot90", "metric": "top1_accuracy"},
    }
    reduced = common | {"group": "rot90", "variant": "batch_norm=train, max_images=2000"}
    rows = [
        *tree.estimates([80.0], 1.0, **common | {"transform": "none"}),
        *tree.estimates([60.0], 1.0, **common),
        *tree.estimates([5.0], 1.0, **common | {"metric": "over_equitune"}),
        *tree.estimates([40.0], 1.0, **reduced),
        # Of a figure of the paper; of one view; of an epoch.
        *tree.estimates([70.0], 1.0, **common | {"group": "rot90"}),
        *tree.estimates([70.0], 1.0, **common, view="1"),
        *tree.estimates([70.0], 1.0, **reduced, step="1"),
    ]
    tree.measured(rows, task="cnn")
    table = build_table(tree, "cnn_studies")
    assert lines_of(table, f"{COMMON}=cifar10, model=ResNet20", 3) == {
        ("mirror", "equitune", ""): (
            *(f"80.0 ({DASH}) [79.0, 81.0]", f"60.0 ({DASH}) [59.0, 61.0]"),
            *(f"+5.0 ({DASH}) [+4.0, +6.0]", "1"),
        ),
        ("rot90", "equitune", reduced["variant"]): (
            *(DASH, f"40.0 ({DASH}) [39.0, 41.0]", DASH, "1"),
        ),
    }
    assert table.commands == ()
    assert build_table(tree, "cnn_studies", scales=("demo",)).commands == ()
    # Each kind without rows has a command.
    tree.measured(rows[:9], task="cnn")
    [command] = build_table(tree, "cnn_studies").commands
    assert "task.max_images=2000" in command
