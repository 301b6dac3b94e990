"""Tables 2 and 8 to 12: exact cells from synthetic rows."""

from __future__ import annotations

from typing import Any

import pytest

from report.tables import Table
from tests.report.conftest import build_table


def line_of(
    table: Table, names: tuple[str, ...], protocol: str = "paper", scale: str = "paper"
) -> list[str]:
    """The cells of the line that starts with some names."""
    [block] = [b for b in table.blocks if b.labels == {"scale": scale, "protocol": protocol}]
    [row] = [row for row in block.rows if row[: len(names)] == names]
    return list(row)


def line(table: Table, method: str, protocol: str = "paper", scale: str = "paper") -> list[str]:
    """One method's cells."""
    return line_of(table, (method,), protocol, scale)


def test_cells_hold_mean_spread_count_and_the_papers_numbers(tree: Any) -> None:
    tree.measured(
        [
            *tree.rows([75.0, 77.0, 79.0]),
            *tree.rows([98.0, 98.5, 99.0], split="validation"),
            *tree.rows([80.0, 81.0, 82.0], dataset="around_right", group="direction"),
            *tree.rows([0.25], method="pretrained", group="trivial"),
        ]
    )
    table = build_table(tree, "table2")
    assert table.headers == (
        "method",
        *("add_jump: group", "add_jump: validation", "add_jump: test", "add_jump: n"),
        *("add_jump: paper reports, validation", "add_jump: paper reports, test"),
        *("around_right: group", "around_right: validation", "around_right: test"),
        *("around_right: n", "around_right: paper reports, validation"),
        "around_right: paper reports, test",
    )
    assert line(table, "equizero") == [
        "equizero",
        *("verb", "98.5 (0.5)", "77.0 (2.0)", "3", "98.4 (0.9)", "75.2 (1.5)"),
        *("direction", "missing", "81.0 (1.0)", "0/3", "98.7 (5.8)", "81.7 (2.4)"),
    ]
    assert line(table, "pretrained")[1:7] == [
        *("trivial", "missing", "0.2 (\N{EN DASH})†", "0/1", "99.1 (0.3)", "0.0 (0.0)")
    ]
    assert line(table, "lambda_equitune")[1:7] == [
        *("verb", "missing", "missing", "0", "not reported", "not reported")
    ]
    assert "(\N{EN DASH}): n = 1, one seed has no spread" in table.notes


def test_blocks_are_the_protocols_and_methods_the_rows(tree: Any) -> None:
    table = build_table(tree, "table2")
    assert [block.title for block in table.blocks] == [
        "scale=paper, protocol=reference",
        "scale=paper, protocol=paper",
    ]
    for block in table.blocks:
        assert [row[0] for row in block.rows] == [
            *("pretrained", "equitune", "equizero", "lambda_equitune")
        ]


def test_a_row_fills_one_cell_of_one_protocol_and_model(tree: Any) -> None:
    tree.measured(tree.rows([75.0, 77.0, 79.0], protocol="reference", model="GRU"))
    assert line(build_table(tree, "table8"), "equizero", "reference")[3] == "77.0 (2.0)†"
    assert line(build_table(tree, "table8"), "equizero", "paper")[3] == "missing"
    assert line(build_table(tree, "table2"), "equizero", "reference")[3] == "missing"


def test_missing_rows_are_named_with_the_command_that_makes_them(tree: Any) -> None:
    rows = []
    for dataset, group in (("add_jump", "verb"), ("around_right", "direction")):
        for method in ("pretrained", "equitune", "equizero", "lambda_equitune"):
            for split in ("validation", "test"):
                names = {"dataset": dataset, "method": method, "split": split}
                acting = "trivial" if method == "pretrained" else group
                rows += tree.rows([50.0, 60.0], group=acting, **names)
    reference = [row | {"protocol": "reference"} for row in rows]
    tree.measured([*rows, *reference])
    assert build_table(tree, "table2").commands == ()
    tree.measured([*rows, *reference[:-2]])
    table = build_table(tree, "table2")
    assert line(table, "lambda_equitune", "reference")[8:11] == ["55.0 (7.1)", "missing", "2/0"]
    assert table.commands == ("python run.py experiment=table2 protocol=reference scale=paper",)


@pytest.mark.parametrize(
    ("values", "cell"),
    [([76.0, 78.0, 80.0], "78.0 (2.0)"), ([77.0, 79.0, 81.0], "79.0 (2.0)†")],
)
def test_a_dagger_marks_what_is_outside_both_spreads(
    tree: Any, values: list[float], cell: str
) -> None:
    tree.measured(tree.rows(values))
    table = build_table(tree, "table2")
    assert line(table, "equizero")[3] == cell
    assert any("not a verdict" in note for note in table.notes) is ("†" in cell)


def test_demo_rows_are_their_own_blocks_and_never_marked(tree: Any) -> None:
    tree.run("a", [tree.row(12.5, scale="demo")])
    tree.measured(tree.rows([75.0, 77.0, 79.0]))
    demo = build_table(tree, "table2", scales=("demo",))
    assert line(demo, "equizero", scale="demo")[3:5] == ["12.5 (\N{EN DASH})", "0/1"]
    assert any(note.startswith("scale = demo, n = 1:") for note in demo.notes)
    assert "python run.py experiment=table2 protocol=paper scale=demo" in demo.commands
    both = build_table(tree, "table2", scales=("paper", "demo"))
    assert line(both, "equizero", scale="demo")[3] == "12.5 (\N{EN DASH})"
    assert line(both, "equizero")[3] == "77.0 (2.0)"
    assert len(both.blocks) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "10000"},
        # The start of a fine-tuning repeats the zero-shot number.
        {"step": "0"},
        {"variant": "joint"},
        {"view": "0"},
        {"group": "trivial"},
        {"metric": "loss"},
        {"split": "train"},
        {"dataset": "length"},
    ],
)
def test_other_rows_do_not_enter(tree: Any, changes: dict[str, str]) -> None:
    tree.measured([*tree.rows([75.0, 77.0, 79.0]), tree.row(1.0) | changes])
    assert line(build_table(tree, "table2"), "equizero") == [
        *("equizero", "verb", "missing", "77.0 (2.0)", "0/3", "98.4 (0.9)", "75.2 (1.5)"),
        *("direction", "missing", "missing", "0", "98.7 (5.8)", "81.7 (2.4)"),
    ]


def finetuned(tree: Any, values: list[float], **changes: Any) -> Any:
    """Validation and test rows of the LSTM fine-tuned for 10 000 iterations, with changes."""
    return tree.both_splits(values, **({"step": "10000"} | changes))


def test_a_finetuned_table_has_its_models_and_methods(tree: Any) -> None:
    built_in = {"model": "G-LSTM", "method": "pretrained", "step": ""}
    tree.measured(
        [
            *tree.rows([0.0, 0.0, 0.0], method="pretrained", group="trivial"),
            *finetuned(tree, [97.0, 98.0, 99.0]),
            *finetuned(tree, [90.0, 91.0, 92.0], group="verb", **built_in),
            *finetuned(tree, [40.0, 50.0], group="verb4", **built_in),
            *finetuned(tree, [88.0], dataset="around_right", group="direction", **built_in),
            *tree.rows([75.0, 76.0, 77.0]),
            *tree.rows([80.0, 81.0, 82.0], step="3000"),
            *finetuned(tree, [50.0], variant="finetune.rate=text"),
        ]
    )
    table = build_table(tree, "table10")
    assert table.headers[:3] == ("model", "method", "add_jump: group")
    for block in table.blocks:
        assert [row[:2] for row in block.rows] == [
            ("LSTM", "pretrained"),
            ("G-LSTM", "pretrained"),
            *(("LSTM", method) for method in ("equitune", "equizero", "lambda_equitune")),
        ]
    assert line_of(table, ("LSTM", "pretrained"))[2:8] == [
        *("trivial", "missing", "0.0 (0.0)", "0/3", "99.1 (0.3)", "0.0 (0.0)")
    ]
    assert line_of(table, ("LSTM", "equizero"))[2:8] == [
        *("verb", "98.0 (1.0)", "98.0 (1.0)", "3", "98.3 (1.1)", "97.9 (0.8)")
    ]
    assert line_of(table, ("LSTM", "lambda_equitune"))[2:8] == [
        *("verb", "missing", "missing", "0", "not reported", "not reported")
    ]
    assert line_of(table, ("G-LSTM", "pretrained")) == [
        *("G-LSTM", "pretrained", "verb", "91.0 (1.0)†", "91.0 (1.0)†", "3"),
        *("99.4 (0.8)", "98.3 (1.4)"),
        *("direction", "88.0 (\N{EN DASH})†", "88.0 (\N{EN DASH})", "1"),
        *("98.4 (0.6)", "89.6 (1.9)"),
    ]


def test_text_and_code_have_built_in_groups_of_their_own(tree: Any) -> None:
    built_in = {"model": "G-GRU", "method": "pretrained", "step": ""}
    rows = [
        *finetuned(tree, [90.0, 91.0, 92.0], group="verb4", protocol="reference", **built_in),
        *finetuned(tree, [50.0, 51.0, 52.0], group="verb", protocol="reference", **built_in),
        *finetuned(tree, [99.0, 99.5, 100.0], group="verb", **built_in),
    ]
    tree.measured(rows)
    table = build_table(tree, "table11")
    code = line_of(table, ("G-GRU", "pretrained"), "reference")
    text = line_of(table, ("G-GRU", "pretrained"), "paper")
    assert code[2:6] == ["verb4", "91.0 (1.0)†", "91.0 (1.0)†", "3"]
    assert text[2:6] == ["verb", "99.5 (0.5)", "99.5 (0.5)", "3"]
    # The paper's one number stands beside either.
    assert code[6:8] == text[6:8] == ["99.6 (0.1)", "99.8 (0.1)"]
    [note] = [note for note in table.notes if note.startswith("G-GRU: ")]
    assert "two elements (verb, protocol=paper)" in note
    assert "four (verb4, protocol=reference)" in note


def test_the_papers_numbers_stand_in_their_own_table(tree: Any) -> None:
    # Table 8 prints 97.7 for the same model.
    assert line_of(build_table(tree, "table11"), ("GRU", "pretrained"))[12:] == [
        "97.9 (0.9)",
        "0.1 (0.1)",
    ]
    assert line_of(build_table(tree, "table12"), ("RNN", "equizero"))[6:8] == [
        "91.7 (6.1)",
        "84.8 (9.8)",
    ]


def test_the_fresh_rows_of_a_finetuned_table_are_those_that_it_shows(tree: Any) -> None:
    shown = finetuned(tree, [97.0, 98.0])
    other = [*tree.rows([75.0]), *finetuned(tree, [97.0], step="3000")]
    tree.run("a", [*shown, *other, *finetuned(tree, [90.0], model="G-LSTM", step="")])
    assert (
        "4 rows from fresh runs, 0 of them in place of a different committed value"
        in build_table(tree, "table10").notes
    )


def test_a_finetuned_table_names_its_own_command(tree: Any) -> None:
    assert build_table(tree, "table12", scales=("paper", "demo")).commands == (
        "python run.py experiment=table12 protocol=reference scale=paper",
        "python run.py experiment=table12 protocol=paper scale=paper",
        "python run.py experiment=table12 protocol=reference scale=demo",
        "python run.py experiment=table12 protocol=paper scale=demo",
    )


def test_a_demo_counts_as_finetuned_at_its_last_step(tree: Any) -> None:
    tree.run("a", [tree.row(10.0 + step, step=step, scale="demo") for step in (0, 20, 9)])
    tree.run("b", [tree.row(70.0, step=500)])
    table = build_table(tree, "table10", scales=("paper", "demo"))
    assert line_of(table, ("LSTM", "equizero"), scale="demo")[4] == "30.0 (\N{EN DASH})"
    assert line_of(table, ("LSTM", "equizero"))[4] == "missing"
    assert (
        "fine-tuned: after 10000 iterations; scale = demo: at the last step found, 20"
        in table.notes
    )
    assert "fine-tuned: after 10000 iterations" in build_table(tree, "table10").notes


def test_a_step_that_is_no_number_is_refused(tree: Any) -> None:
    path = tree.run("a", [tree.row(10.0, step="last", scale="demo")])
    with pytest.raises(ValueError) as caught:
        build_table(tree, "table10", scales=("demo",))
    assert str(caught.value) == f"{path}:2: step 'last' is not a whole number"
