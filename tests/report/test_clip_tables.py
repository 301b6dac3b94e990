"""CLIP: the tables of all methods and of single classes, and Table 1, from synthetic rows."""

from __future__ import annotations

from typing import Any

import pytest

from report.tables import Table
from tests.report.clip_rows import (
    DASH,
    DRAWN,
    GROUPS,
    LAMBDA,
    METHODS,
    OURS,
    TRAINED,
    ZERO,
    evaluated,
    everything,
    timed,
)
from tests.report.conftest import build_table, lines_of

COMMAND = "python run.py experiment=clip_zero_shot"
OWN = f"scale=paper, protocol=paper, dataset=cifar100, model={OURS}"
NAMES = ("clip_zero_shot", "clip_classes")


def whole(tree: Any, groups: tuple[str, ...] = GROUPS, **changes: Any) -> list[Any]:
    """Rows of the preset."""
    return everything(tree, METHODS, groups, **{"model": OURS} | changes)


def block(table: Table, title: str = f"{OWN}, variant=none") -> dict[Any, tuple[str, ...]]:
    """The lines of one block, by what names them."""
    return lines_of(table, title, len(table.stub))


def ways(group: str, *methods: str) -> list[tuple[str, str, str]]:
    """The names of lines of a group's transforms."""
    return [(group, "trivial" if each == "pretrained" else group, each) for each in methods]


def test_every_measure_has_its_column(tree: Any) -> None:
    tree.measured(whole(tree, seeds=3), task="clip")
    table = build_table(tree, "clip_zero_shot")
    assert table.headers == (
        *("transform", "group", "method", "top-1: upright", "top-1: transformed"),
        *("top-1: over equitune", "top-1: n", "further: top-5", "further: calibration error"),
        *("further: equivariance error", "further: lambda highest upright"),
    )
    lines = block(table)
    assert list(lines) == [way for group in GROUPS for way in ways(group, *METHODS)]
    assert lines["rot90", "trivial", "pretrained"] == (
        *("52.0 (2.0)", "37.0 (2.0) [36.0, 38.0]", "-2.0 (2.0) [-3.0, -1.0]", "3"),
        *("62.0 (2.0)", "12.5 (0.0)", "0.00025", DASH),
    )
    assert lines["mirror", "mirror", "equitune"][2:] == (
        *(DASH, "3", "62.0 (2.0)", "12.5 (0.0)", "0.00025", DASH),
    )
    assert lines["dihedral", "dihedral", LAMBDA][2:] == (
        *("+8.0 (2.0) [+7.0, +9.0]", "3", "62.0 (2.0)", "12.5 (0.0)", "0.00025", "72.0 (2.0)"),
    )
    assert table.commands == ()


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_the_presets_block_is_missing(tree: Any, name: str) -> None:
    table = build_table(tree, name, scales=("paper", "demo"))
    assert [block.title.split(", variant")[0] for block in table.blocks] == [
        OWN,
        f"scale=demo, protocol=paper, dataset={DRAWN}, model={OURS}",
    ]
    assert table.commands == (f"{COMMAND} scale=paper", f"{COMMAND} scale=demo dataset={DRAWN}")


def test_groups_that_are_missing_are_in_the_command(tree: Any) -> None:
    rows = whole(tree, ("rot90", "mirror"))
    lacking = [row for row in rows if (row["method"], row["group"]) != (ZERO, "mirror")]
    tree.run("a", lacking, task="clip")
    tables = [build_table(tree, name) for name in NAMES]
    lines, missing = block(tables[0]), ("missing",) * 3
    assert lines["mirror", "mirror", ZERO] == (*missing, "0", *missing, DASH)
    # Upright images are the same ones.
    assert lines["rot180", "trivial", "pretrained"][:4] == (
        *(f"50.0 ({DASH})", "missing", "missing", f"0{DASH}1"),
    )
    command = f"{COMMAND} scale=paper group=rot180,mirror,dihedral"
    assert [table.commands for table in tables] == [(command,)] * 2


def test_other_models_have_the_groups_that_they_were_tried_with(tree: Any) -> None:
    rows = [
        row
        for changes in (
            {"groups": ["rot180"]},
            {"groups": ["rot90"], "dataset": "imagenet_v2"},
            {"groups": ["rot90"], "protocol": "reference"},
        )
        for row in everything(tree, METHODS[:3], **changes)
    ]
    tree.run("a", [*rows, *whole(tree)], task="clip")
    tables = [build_table(tree, name) for name in NAMES]
    title = "scale=paper, protocol=paper, dataset={}, model=RN50, variant=none"
    lines = block(tables[0], title.format("cifar100"))
    assert list(lines) == ways("rot180", *METHODS)
    assert lines["rot180", "rot180", LAMBDA][0] == "missing"
    # ImageNet-V2 has no training images for lambda.
    assert list(block(tables[0], title.format("imagenet_v2"))) == ways("rot90", *METHODS[:3])
    commands = (
        f"{COMMAND} scale=paper model=RN50 seed=0 group=rot180",
        f"{COMMAND} scale=paper protocol=reference model=RN50 seed=0 group=rot90",
    )
    assert [table.commands for table in tables] == [commands] * 2


def test_a_variant_has_a_block_of_its_own_without_missing_lines(tree: Any) -> None:
    variant = "model.mean=[0.5, 0.5, 0.5], checkpoint=2d711642"
    rows = evaluated(tree, ZERO, "rot180", model=OURS, variant=variant)
    short = [row for row in rows if row["metric"] != "top5_accuracy"]
    tree.run("a", [*whole(tree), *short], task="clip")
    table = build_table(tree, "clip_zero_shot")
    lines = block(table, f"{OWN}, variant={variant}")
    assert list(lines) == ways("rot180", ZERO) and "missing" in lines["rot180", "rot180", ZERO]
    assert table.commands == () and len(build_table(tree, "clip_classes").blocks) == 1


def test_a_group_may_differ_from_the_transforms(tree: Any) -> None:
    rows = evaluated(tree, "equitune", "rot90", model=OURS, group="dihedral")
    rows = [row for row in rows if row["metric"] != "top5_accuracy"]
    tree.run("a", [*whole(tree), *rows], task="clip")
    table = build_table(tree, "clip_zero_shot")
    lines = block(table)
    assert list(lines)[-1] == ("rot90", "dihedral", "equitune")
    assert lines["rot90", "dihedral", "equitune"][4] == "missing" and table.commands == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_further_method_has_a_line_where_it_has_rows(
    tree: Any, name: str, soft_choice: str
) -> None:
    further = evaluated(tree, soft_choice, "rot90", model=OURS)
    tree.run("a", [*whole(tree), *further], task="clip")
    [only] = build_table(tree, name).blocks
    methods = METHODS if name == "clip_zero_shot" else METHODS[2:]
    place = 2 if name == "clip_zero_shot" else 1
    shown = [line[place] for line in only.rows]
    assert shown == [*methods, soft_choice, *methods, *methods, *methods]
    assert build_table(tree, name).commands == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{"variant": TRAINED}, {"step": 100}, {"scale": "demo"}])
def test_other_rows_do_not_count(tree: Any, name: str, changes: dict[str, str]) -> None:
    tree.run("a", [*whole(tree, **changes), *timed(tree, "cpu", "RN50")], task="clip")
    [only] = build_table(tree, name).blocks
    assert all("missing" in line for line in only.rows) and only.labels["model"] == OURS


def test_classes_that_gain_and_lose_most(tree: Any) -> None:
    common = {"transform": "rot180", "model": OURS}
    rows = evaluated(tree, ZERO, **common) + evaluated(tree, LAMBDA, gains=(0.0, -1.5), **common)
    gains = (-2.0, -3.0, 1.0, *[-20.0] * 7)
    rows += evaluated(tree, ZERO, "mirror", model=OURS, seeds=3, gains=gains)
    tree.run("a", [*rows, *evaluated(tree, "pretrained", **common)], task="clip")
    lines = block(build_table(tree, "clip_classes"), OWN)
    assert list(lines) == [(group, method) for group in GROUPS for method in (ZERO, LAMBDA)]
    assert lines["rot180", ZERO] == (
        *("6", "2", "1", "4 (+8.0), 1 (+3.0), 3 (+3.0), 6 (+2.0), 5 (+1.0)"),
        *("7 (-5.0), 2 (-2.0)", "1"),
    )
    assert lines["rot180", LAMBDA] == ("0", "1", "1", DASH, "1 (-1.5)", "1")
    assert lines["rot90", ZERO] == (*["missing"] * 5, "0")
    worst = ", ".join(f"{number} (-18.0)" for number in range(3, 8))
    assert lines["mirror", ZERO] == ("1", "8", "1", "2 (+3.0)", worst, "3")


def test_times_stand_beside_the_papers_whose_lambda_has_a_second_encoder(tree: Any) -> None:
    rows = [row for model in ("RN50", "ViT-B-32") for row in timed(tree, "cpu", model)]
    tree.measured(rows, task="clip")
    table = build_table(tree, "table1")
    lines = block(table, "machine=cpu")
    assert len(lines) == 8 and not table.commands
    once, twice = "1.000 [0.995, 1.005]", "2.000 [1.995, 2.005]"
    even = ("32", "10.00", once, "1000", once, "14.15", "1.000", "3703", "1.000")
    assert lines["RN50", "equitune", DASH] == even
    assert lines["RN50", LAMBDA, DASH][5:] == ("not reported",) * 4
    second = lines["RN50", LAMBDA, "second encoder"]
    assert second[2] == second[4] == twice
    assert second[5:] == ("23.50", "1.661", "3941", "1.064")


def test_machines_stand_apart_and_what_lacks_has_a_command(tree: Any) -> None:
    command = "python run.py experiment=table1"
    assert build_table(tree, "table1").commands == (command,)
    tree.measured([*timed(tree, "cpu", "RN50"), *timed(tree, "gpu", OURS)], task="clip")
    table = build_table(tree, "table1")
    assert [block.title for block in table.blocks] == ["machine=cpu", "machine=gpu"]
    assert {line[0] for line in table.blocks[1].rows} == {"RN50", "ViT-B-32", OURS}
    assert table.commands == (f"{command} model=ViT-B-32", command)
