"""The CLIP task: the tables of all methods and of single classes, from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from report.artefacts.clip.common import DRAWN, OURS
from report.artefacts.clip.tables import GROUPS, PRESET, own_ways
from report.tables import Table
from tests.report.conftest import build_table, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
COMMAND = "python run.py experiment=clip_zero_shot"
DASH = "\N{EN DASH}"
ZERO, LAMBDA = "equizero", "lambda_equitune"
OWN = f"scale=paper, protocol=paper, dataset=cifar100, model={OURS}"
# Method to accuracy on transformed images, and to what it is over equitune.
HEIGHTS = {
    "pretrained": (30.0, -4.0),
    "equitune": (34.0, 0.0),
    ZERO: (38.0, 4.0),
    LAMBDA: (40.0, 6.0),
}
# What the classes gain over equitune.
GAINS = (0.0, 3.0, -2.0, 3.0, 8.0, 1.0, 2.0, -5.0, 0.5)


def build(tree: Any, name: str = "clip_zero_shot", **options: Any) -> Table:
    """The artefact as the program builds it."""
    return build_table(tree, name, **options)


def block(table: Table, title: str, stub: int = 3) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by what names them."""
    return lines_of(table, title, stub)


def evaluated(
    tree: Any,
    method: str,
    transform: str,
    seeds: int = 1,
    gains: tuple[float, ...] = GAINS,
    **changes: Any,
) -> list[Any]:
    """Rows of one run per seed, two points apart."""
    common = {
        **{"task": "clip", "dataset": "cifar100", "model": OURS, "method": method},
        **{"group": "trivial" if method == "pretrained" else transform},
    } | changes
    upright, turned = common | {"transform": "none"}, common | {"transform": transform}
    accuracy, over = HEIGHTS[method]
    rows: list[Any] = []

    def estimate(base: float, metric: str, columns: dict[str, Any]) -> None:
        for end, half in (("", 0.0), ("_low", -1.0), ("_high", 1.0)):
            values = [base + half + 2 * seed for seed in range(seeds)]
            rows.extend(tree.rows(values, metric=f"{metric}{end}", **columns))

    estimate(50.0 if method == "pretrained" else 36.0, "top1_accuracy", upright)
    estimate(accuracy, "top1_accuracy", turned)
    estimate(99.0, "top1_accuracy", turned | {"view": 1})
    estimate(60.0, "top5_accuracy", turned)
    rows += tree.rows([12.5] * seeds, metric="calibration_error", **turned)
    rows += tree.rows([1.5] * seeds, metric="cross_entropy", **turned)
    rows += tree.rows([0.00025] * seeds, metric="equivariance_error", **turned)
    if method != "equitune":
        estimate(over, "over_equitune", turned)
        for number, gain in enumerate(gains):
            values = [gain + 2 * seed for seed in range(seeds)]
            columns = turned | {"view": number}
            rows += tree.rows(values, metric="class_over_equitune", **columns)
    if method == LAMBDA:
        estimate(70.0, "lambda_highest_upright", turned)
        estimate(40.0, "lambda_share", turned | {"view": 0})
    return rows


def everything(tree: Any, groups: tuple[str, ...] = GROUPS, **changes: Any) -> list[Any]:
    """Rows of the whole preset for one model."""
    return [
        row
        for group in groups
        for method in HEIGHTS
        for row in evaluated(tree, method, group, **changes)
    ]


def test_every_measure_has_its_column(tree: Any) -> None:
    tree.measured(everything(tree, seeds=3), task="clip")
    table = build(tree)
    assert table.headers == (
        *("transform", "group", "method", "top-1: upright", "top-1: transformed"),
        *("top-1: over equitune", "top-1: n", "further: top-5", "further: calibration error"),
        *("further: equivariance error", "further: lambda highest upright"),
    )
    lines = block(table, f"{OWN}, variant=none")
    assert list(lines) == [tuple(way) for group in GROUPS for way in own_ways(group, "cifar100")]
    assert lines["rot180", "trivial", "pretrained"] == (
        *("52.0 (2.0)", "32.0 (2.0) [31.0, 33.0]", "-2.0 (2.0) [-3.0, -1.0]", "3"),
        *("62.0 (2.0)", "12.5 (0.0)", "0.00025", DASH),
    )
    assert lines["mirror", "mirror", "equitune"] == (
        *("38.0 (2.0)", "36.0 (2.0) [35.0, 37.0]", DASH, "3"),
        *("62.0 (2.0)", "12.5 (0.0)", "0.00025", DASH),
    )
    assert lines["dihedral", "dihedral", LAMBDA][2:] == (
        *("+8.0 (2.0) [+7.0, +9.0]", "3", "62.0 (2.0)", "12.5 (0.0)", "0.00025", "72.0 (2.0)"),
    )
    assert table.commands == ()


def test_one_seed_has_no_spread_but_an_interval(tree: Any) -> None:
    tree.run("a", everything(tree), task="clip")
    lines = block(build(tree), f"{OWN}, variant=none")
    assert lines["rot90", "rot90", ZERO][:4] == (
        *(f"36.0 ({DASH})", f"38.0 ({DASH}) [37.0, 39.0]", f"+4.0 ({DASH}) [+3.0, +5.0]", "1"),
    )


@pytest.mark.parametrize("name", ["clip_zero_shot", "clip_classes"])
def test_without_rows_the_presets_block_is_missing(tree: Any, name: str) -> None:
    table = build(tree, name, scales=("paper", "demo"))
    assert [block.title.split(", variant")[0] for block in table.blocks] == [
        OWN,
        f"scale=demo, protocol=paper, dataset={DRAWN}, model={OURS}",
    ]
    assert table.commands == (
        f"{COMMAND} scale=paper",
        f"{COMMAND} scale=demo dataset={DRAWN}",
    )


def test_groups_that_are_missing_are_in_the_command(tree: Any) -> None:
    rows = everything(tree, ("rot90", "mirror"))
    tree.run(
        "a", [row for row in rows if row["method"] != ZERO or row["group"] != "mirror"], task="clip"
    )
    table = build(tree)
    lines = block(table, f"{OWN}, variant=none")
    missing = ("missing",) * 3
    assert lines["mirror", "mirror", ZERO] == (*missing, "0", *missing, DASH)
    assert lines["rot180", "rot180", "equitune"][:4] == ("missing", "missing", DASH, "0")
    # Upright images are the same ones.
    assert lines["rot180", "trivial", "pretrained"][:4] == (
        *(f"50.0 ({DASH})", "missing", "missing", f"0{DASH}1"),
    )
    command = f"{COMMAND} scale=paper group=rot180,mirror,dihedral"
    assert table.commands == build(tree, "clip_classes").commands == (command,)


def test_other_models_have_the_groups_that_they_were_tried_with(tree: Any) -> None:
    rows = [
        row
        for method in ("pretrained", "equitune", ZERO)
        for row in evaluated(tree, method, "rot180", model="RN50")
        + evaluated(tree, method, "rot90", model="RN50", dataset="imagenet_v2")
        + evaluated(tree, method, "rot90", model="RN50", protocol="reference")
    ]
    tree.run("a", [*rows, *everything(tree)], task="clip")
    table = build(tree)
    common = "scale=paper, protocol"
    lines = block(table, f"{common}=paper, dataset=cifar100, model=RN50, variant=none")
    assert list(lines) == [tuple(way) for way in own_ways("rot180", "cifar100")]
    assert lines["rot180", "rot180", LAMBDA][0] == "missing"
    # ImageNet-V2 has no training images for lambda.
    lines = block(table, f"{common}=paper, dataset=imagenet_v2, model=RN50, variant=none")
    assert [method for *_, method in lines] == ["pretrained", "equitune", ZERO]
    assert (
        table.commands
        == build(tree, "clip_classes").commands
        == (
            f"{COMMAND} scale=paper model=RN50 seed=0 group=rot180",
            f"{COMMAND} scale=paper protocol=reference model=RN50 seed=0 group=rot90",
        )
    )


def test_a_variant_has_a_block_of_its_own_without_missing_lines(tree: Any) -> None:
    variant = {"variant": "model.mean=[0.5, 0.5, 0.5], checkpoint=2d711642"}
    rows = [*everything(tree), *evaluated(tree, ZERO, "rot180", **variant)]
    tree.run("a", rows, task="clip")
    table = build(tree)
    lines = block(table, f"{OWN}, variant={variant['variant']}")
    assert list(lines) == [("rot180", "rot180", ZERO)]
    assert table.commands == ()
    assert len(build(tree, "clip_classes").blocks) == 1


def test_a_group_may_differ_from_the_transforms(tree: Any) -> None:
    rows = evaluated(tree, "equitune", "rot90", group="dihedral")
    tree.run("a", [row for row in rows if row["metric"] != "top5_accuracy"], task="clip")
    table = build(tree)
    lines = block(table, f"{OWN}, variant=none")
    assert list(lines)[-1] == ("rot90", "dihedral", "equitune")
    assert lines["rot90", "dihedral", "equitune"][4] == "missing"
    assert table.commands == (f"{COMMAND} scale=paper",)


@pytest.mark.parametrize("name", ["clip_zero_shot", "clip_classes"])
@pytest.mark.parametrize(
    "changes", [{"variant": "training=image_encoder"}, {"step": 100}, {"scale": "demo"}]
)
def test_other_rows_do_not_count(tree: Any, name: str, changes: dict[str, str]) -> None:
    tree.run("a", everything(tree, **changes), task="clip")
    [only] = build(tree, name).blocks
    assert all("missing" in line for line in only.rows)


@pytest.mark.parametrize("name", ["clip_zero_shot", "clip_classes"])
def test_times_are_no_accuracies(tree: Any, name: str) -> None:
    columns = {"task": "clip", "dataset": "cifar100", "model": "RN50", "group": "rot90"}
    seconds = tree.row(14.0, metric="inference_seconds", transform="rot90", **columns)
    tree.run("a", [*everything(tree), seconds], task="clip")
    assert [block.labels["model"] for block in build(tree, name).blocks] == [OURS]


def test_a_demo_is_never_mixed_with_the_paper(tree: Any) -> None:
    demo = everything(tree, scale="demo", dataset=DRAWN)
    tree.run("a", [*demo, *everything(tree, seeds=3)], task="clip")
    for name, place in (("clip_zero_shot", 6), ("clip_classes", 7)):
        table = build(tree, name, scales=("paper", "demo"))
        assert [(block.labels["scale"], block.labels["dataset"]) for block in table.blocks] == [
            ("paper", "cifar100"),
            ("demo", DRAWN),
        ]
        counts = [{line[place] for line in block.rows} for block in table.blocks]
        assert counts == [{"3"}, {"1"}]


def test_classes_that_gain_and_lose_most(tree: Any) -> None:
    rows = evaluated(tree, ZERO, "rot180") + evaluated(tree, LAMBDA, "rot180", gains=(0.0, -1.5))
    tree.run("a", [*rows, *evaluated(tree, "pretrained", "rot180")], task="clip")
    table = build(tree, "clip_classes")
    assert table.headers == (
        *("group", "method", "gain", "lose", "even", "gain most", "lose most", "n"),
    )
    lines = block(table, OWN, 2)
    assert list(lines) == [(group, method) for group in GROUPS for method in (ZERO, LAMBDA)]
    assert lines["rot180", ZERO] == (
        *("6", "2", "1", "4 (+8.0), 1 (+3.0), 3 (+3.0), 6 (+2.0), 5 (+1.0)"),
        *("7 (-5.0), 2 (-2.0)", "1"),
    )
    assert lines["rot180", LAMBDA] == ("0", "1", "1", DASH, "1 (-1.5)", "1")
    assert lines["rot90", ZERO] == (*["missing"] * 5, "0")
    assert "class_names" in " ".join(table.notes)


def test_classes_are_means_over_seeds(tree: Any) -> None:
    rows = evaluated(tree, ZERO, "rot90", seeds=3, gains=(-2.0, -3.0, 1.0, *[-20.0] * 7))
    tree.run("a", rows, task="clip")
    lines = block(build(tree, "clip_classes"), OWN, 2)
    worst = ", ".join(f"{number} (-18.0)" for number in range(3, 8))
    assert lines["rot90", ZERO] == ("1", "8", "1", "2 (+3.0)", worst, "3")


def test_the_preset_is_what_the_tables_expect() -> None:
    preset = OmegaConf.load(CONF / "experiment" / "clip_zero_shot.yaml")
    assert {"override /dataset": PRESET.dataset} in preset.defaults
    assert {"override /model": PRESET.models[0]} in preset.defaults
    params = preset.hydra.sweeper.params
    assert params.seed == PRESET.seeds and tuple(params.group.split(",")) == GROUPS
    assert tuple(params.method.split(",")) == tuple(HEIGHTS)
