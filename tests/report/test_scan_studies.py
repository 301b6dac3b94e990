"""SCAN beyond the paper: variants, larger groups, length bias and fine-tuning choices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from report.artefacts.scan.tables import GROUP_SIZES
from report.tables import Table
from tests.report.conftest import build_table

CONF = Path(__file__).resolve().parents[2] / "conf" / "group"
DASH = "(\N{EN DASH})"


def blocks(table: Table) -> dict[str, list[tuple[str, ...]]]:
    """Rows by the title of their block."""
    return {block.title: list(block.rows) for block in table.blocks}


def test_variants_have_a_row_each(tree: Any) -> None:
    variant = "coupling=joint, selection=step"
    tree.measured(
        [
            *tree.rows([75.0, 77.0, 79.0], variant=variant),
            *tree.rows([98.0, 98.5, 99.0], variant=variant, split="validation"),
            *tree.rows([60.0], variant="coupling=joint"),
            *tree.rows([50.0, 52.0], variant="coupling=joint", model="GRU", protocol="reference"),
            *tree.rows([1.0, 2.0]),
        ]
    )
    table = build_table(tree, "scan_variants")
    assert table.headers == ("dataset", "group", "method", "variant", "validation", "test", "n")
    names = ("add_jump", "verb", "equizero")
    assert blocks(table) == {
        "scale=paper, model=GRU, protocol=reference": [
            (*names, "coupling=joint", "missing", "51.0 (1.4)", "0/2"),
        ],
        "scale=paper, model=LSTM, protocol=paper": [
            (*names, "coupling=joint", "missing", f"60.0 {DASH}", "0/1"),
            (*names, variant, "98.5 (0.5)", "77.0 (2.0)", "3"),
        ],
    }
    assert table.commands == ("python run.py experiment=scan_variants scale=paper",)


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "finetune.rate=text"},
        {"variant": "score=emitted, finetune.rate=text"},
        {"variant": "finetune.rate=text", "step": "10000"},
        {"variant": "score=emitted", "step": "10000"},
        {"variant": "score=emitted", "step": "0"},
    ],
)
def test_finetuned_variants_are_not_among_the_zero_shot_ones(
    tree: Any, changes: dict[str, str]
) -> None:
    tree.measured([tree.row(75.0, **changes)])
    assert build_table(tree, "scan_variants").blocks == ()
    tree.measured([tree.row(75.0, **changes), tree.row(76.0, variant="a.finetune.rate=text")])
    assert len(build_table(tree, "scan_variants").blocks) == 1


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("scan_variants", "no rows with a variant were found"),
        ("scan_groups", "no rows with a group beyond the paper's were found"),
        ("scan_rates", "no fine-tuned rows with a variant were found"),
    ],
)
def test_without_rows_a_table_says_so(tree: Any, name: str, note: str) -> None:
    tree.measured([tree.row(75.0), tree.row(99.0, step="10000")])
    table = build_table(tree, name, scales=("paper", "demo"))
    assert table.blocks == ()
    assert table.notes[-1] == note
    assert table.commands == (
        f"python run.py experiment={name} scale=paper",
        f"python run.py experiment={name} scale=demo",
    )


def test_groups_are_ordered_by_method_and_size(tree: Any) -> None:
    rows = [
        *tree.both_splits([70.0, 72.0], group="verb4_direction"),
        *tree.both_splits([60.0, 62.0], group="verb_direction"),
        *tree.both_splits([76.0, 78.0], group="verb"),
        *tree.both_splits([50.0, 52.0], group="verb4", method="equitune"),
        *tree.both_splits([0.0, 1.0], group="trivial", method="pretrained"),
    ]
    # One larger group is enough for a block; without one there is none.
    only_usual = tree.both_splits([70.0], model="GRU")
    tree.measured([*rows, *only_usual])
    table = build_table(tree, "scan_groups")
    assert table.headers == ("method", "group", "|G|", "validation", "test", "n")
    assert blocks(table) == {
        "scale=paper, protocol=paper, dataset=add_jump, model=LSTM": [
            ("pretrained", "trivial", "1", "0.5 (0.7)", "0.5 (0.7)", "2"),
            ("equitune", "verb4", "4", "51.0 (1.4)", "51.0 (1.4)", "2"),
            ("equizero", "verb", "2", "77.0 (1.4)", "77.0 (1.4)", "2"),
            ("equizero", "verb_direction", "4", "61.0 (1.4)", "61.0 (1.4)", "2"),
            ("equizero", "verb4_direction", "8", "71.0 (1.4)", "71.0 (1.4)", "2"),
        ]
    }
    assert table.commands == ()


def test_only_zero_shot_rows_of_the_recurrent_models_count_for_groups(tree: Any) -> None:
    tree.measured(
        [
            tree.row(1.0, group="verb4", step="10000"),
            tree.row(2.0, group="verb4", variant="score=emitted"),
            tree.row(3.0, group="verb4", model="G-LSTM", method="pretrained"),
        ]
    )
    assert build_table(tree, "scan_groups").blocks == ()
    tree.measured([tree.row(4.0, group="mine")])
    [[line]] = blocks(build_table(tree, "scan_groups")).values()
    assert line == ("equizero", "mine", "unknown", "missing", f"4.0 {DASH}", "0/1")


def size(name: str) -> int | None:
    """Number of elements of a group of `conf/group`; None where it does not act on words."""
    group = OmegaConf.load(CONF / f"{name}.yaml")
    if "factors" in group:
        sizes = [size(factor) for factor in group["factors"]]
        return None if None in sizes else math.prod(number or 0 for number in sizes)
    if "words" in group:
        return math.lcm(*(len(cycle) for cycle in group["words"]))
    return 1 if name == "trivial" else None


def test_the_sizes_of_groups_are_those_of_the_configuration() -> None:
    sizes = {path.stem: size(path.stem) for path in CONF.glob("*.yaml")}
    sizes = {name: number for name, number in sizes.items() if number is not None}
    assert {"trivial", "verb", "direction"} <= set(sizes)
    assert sizes == {name: GROUP_SIZES.get(name) for name in sizes}


LENGTHS = ("accuracy", "longer_than_target", "shorter_than_target")


def length_rows(tree: Any, *columns: list[float], **changes: Any) -> list[dict[str, str]]:
    """Test rows of protocol `reference`: one list of values over seeds per metric."""
    return [
        row
        for metric, values in zip(LENGTHS, columns, strict=False)
        for row in tree.rows(values, **({"protocol": "reference", "metric": metric} | changes))
    ]


def test_the_length_bias_is_a_difference_seed_by_seed(tree: Any) -> None:
    padded = length_rows(tree, [40.0, 44.0, 48.0], [50.0, 52.0, 54.0], [1.0, 1.0, 1.0])
    emitted = length_rows(
        tree, [60.0, 65.0, 70.0], [10.0, 12.0, 14.0], [1.0, 1.0, 4.0], variant="score=emitted"
    )
    tree.measured([*padded, *emitted])
    table = build_table(tree, "scan_lengths")
    assert table.headers == ("dataset", "model", "score", "accuracy", "longer", "shorter", "n")
    [rows] = blocks(table).values()
    assert [block.title for block in table.blocks] == [
        "scale=paper, protocol=reference, method=equizero"
    ]
    assert len(rows) == 2 * 3 * 3
    assert {row[:2] for row in rows[:3]} == {("add_jump", "LSTM")}
    assert [row[2:] for row in rows[:3]] == [
        ("padded", "44.0 (4.0)", "52.0 (2.0)", "1.0 (0.0)", "3"),
        ("emitted", "65.0 (5.0)", "12.0 (2.0)", "2.0 (1.7)", "3"),
        # Smaller spreads than the two above together: each seed is compared with itself.
        ("emitted minus padded", "+21.0 (1.0)", "-40.0 (0.0)", "+1.0 (1.7)", "3"),
    ]
    assert rows[3] == ("add_jump", "GRU", "padded", "missing", "missing", "missing", "0")
    assert table.commands == ("python run.py experiment=scan_lengths scale=paper",)


def test_a_difference_takes_the_seeds_that_have_both(tree: Any) -> None:
    padded = length_rows(tree, [40.0, 44.0, 48.0])
    emitted = length_rows(tree, [60.0, 66.0], [3.0], variant="score=emitted")
    tree.measured([*padded, *emitted])
    [rows] = blocks(build_table(tree, "scan_lengths")).values()
    assert rows[1][3:] == ("63.0 (4.2)", f"3.0 {DASH}", "missing", "2/1/0")
    assert rows[2][3:] == ("+21.0 (1.4)", "missing", "missing", "2/0/0")


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "paper"},
        {"split": "validation"},
        {"method": "equitune"},
        {"step": "10000"},
        {"group": "verb4"},
        {"variant": "score=emitted, coupling=joint"},
    ],
)
def test_other_rows_do_not_enter_the_length_bias(tree: Any, changes: dict[str, str]) -> None:
    tree.measured(length_rows(tree, [40.0], **changes))
    [rows] = blocks(build_table(tree, "scan_lengths")).values()
    assert {row[-1] for row in rows} == {"0"}


def test_rates_stand_beside_the_protocol_and_the_paper(tree: Any) -> None:
    tuned = {"protocol": "reference", "step": "10000"}
    both = "finetune.rate=scripts, finetune.weight_decay=0.0"
    tree.measured(
        [
            *tree.both_splits([98.0, 98.5, 99.0], **tuned),
            *tree.both_splits([90.0, 91.0, 92.0], variant="finetune.rate=text", **tuned),
            *tree.both_splits([97.5, 98.0, 98.5], variant=both, **tuned),
            *tree.both_splits([50.0], variant="finetune.rate=text", method="equitune", **tuned),
            # Without a variant: Table 10 has it.
            *tree.both_splits([80.0], method="lambda_equitune", **tuned),
            *tree.both_splits([70.0], model="GRU", **tuned),
            *tree.both_splits([60.0], variant="finetune.rate=text", protocol="reference"),
            *tree.both_splits([60.0], variant="finetune.rate=text", step="10000"),
        ]
    )
    table = build_table(tree, "scan_rates")
    assert table.headers == (
        *("method", "variant", "validation", "test", "n"),
        *("paper reports, validation", "paper reports, test"),
    )
    equitune, equizero = ("98.9 (0.7)", "97.9 (1.0)"), ("98.3 (1.1)", "97.9 (0.8)")
    assert blocks(table) == {
        "scale=paper, protocol=reference, dataset=add_jump, model=LSTM": [
            ("equitune", "as the protocol", "missing", "missing", "0", *equitune),
            ("equitune", "finetune.rate=text", f"50.0 {DASH}†", f"50.0 {DASH}†", "1", *equitune),
            ("equizero", "as the protocol", "98.5 (0.5)", "98.5 (0.5)", "3", *equizero),
            ("equizero", both, "98.0 (0.5)", "98.0 (0.5)", "3", *equizero),
            ("equizero", "finetune.rate=text", "91.0 (1.0)†", "91.0 (1.0)†", "3", *equizero),
        ]
    }
    assert table.commands == ("python run.py experiment=scan_rates scale=paper",)


def test_a_demo_of_rates_is_never_marked(tree: Any) -> None:
    demo = {"protocol": "reference", "scale": "demo", "variant": "finetune.rate=text"}
    tree.run("a", [*tree.both_splits([5.0], step="9", **demo)])
    tree.run("b", [*tree.both_splits([7.0], step="20", **demo)])
    table = build_table(tree, "scan_rates", scales=("demo",))
    [rows] = blocks(table).values()
    assert rows[1][1:5] == ("finetune.rate=text", f"7.0 {DASH}", f"7.0 {DASH}", "1")
    assert "fine-tuned: after 10000 iterations; scale = demo: at the last step found, 20" in (
        table.notes
    )
