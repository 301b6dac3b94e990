"""Numbers over seeds, tables made by a specification, and commands made from presets."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.aggregate import Numbers
from report.cells import Interval, Number
from report.options import Options
from report.presets import arms, axes, command
from report.results import load_results
from report.spec import Column, Spec, seeds, shown
from report.tables import Table

BY = ("scale", "protocol", "model", "method", "metric", "step")
SPEC = Spec(
    name="table2",
    title="A table",
    block=("scale", "model"),
    stub=("method",),
    columns={
        "": (shown("accuracy"), seeds({}, {"metric": "loss"})),
        "further": (Column("steps", lambda line: line.labels["step"] or "none"),),
    },
    units="Percent",
    fixed={"protocol": "paper", "metric": "accuracy", "step": ""},
    titles={"method": "way"},
    notes=("a note",),
    empty="nothing",
    words=("scale", "model"),
)


def numbers(tree: Any, **options: Any) -> Numbers:
    chosen = Options(**options)
    return Numbers(load_results(tree.path, scales=chosen.scales).ours, BY, chosen.spread)


def build(tree: Any, **options: Any) -> Table:
    return SPEC.build(numbers(tree, **options), Options(**options))


LABELS = {"scale": "paper", "protocol": "paper", "model": "LSTM", "method": "equizero", "step": ""}


def test_a_number_has_the_mean_interval_of_its_seeds(tree: Any) -> None:
    tree.measured(
        [
            *tree.rows([70.0, 74.0]),
            *tree.rows([60.0, 62.0], metric="accuracy_low"),
            *tree.rows([80.0, 82.0], metric="accuracy_high"),
            *tree.rows([1.0], metric="loss"),
        ]
    )
    found = numbers(tree)
    ours = found.find(**LABELS, metric="accuracy")
    assert ours == Number(72.0, 8**0.5, 2, Interval(61.0, 81.0))
    assert found.find(**LABELS, metric="loss") == Number(1.0, None, 1)
    assert found.find(**LABELS, metric="time") is None
    assert found.values(**LABELS, metric="accuracy") == {"0": 70.0, "1": 74.0}
    assert len(found.used) == 7


def test_a_table_with_differences_says_where_its_seeds_differ(tree: Any) -> None:
    tree.measured([*tree.rows([70.0, 74.0]), *tree.rows([75.0], method="equitune")])
    gain = Column("gain", lambda line: "+1.0")
    spec = replace(SPEC, columns={"": (gain, seeds({}))})
    mixed, single = (
        spec.build(
            numbers(tree), Options(), [{**LABELS, "metric": "accuracy", "method": name}, line]
        )
        for line in ({**LABELS, "metric": "accuracy"},)
        for name in ("equitune", "equizero")
    )
    assert [note for note in mixed.notes if note.startswith("n differs: ")]
    assert not [note for note in single.notes if note.startswith("n differs: ")]
    assert not [note for note in build(tree).notes if note.startswith("n differs: ")]


def test_a_seed_that_would_count_twice_is_refused_where_it_is_shown(tree: Any) -> None:
    path = tree.measured([tree.row(75.0), tree.row(75.0, transform="other"), tree.row(1.0, step=9)])
    found = numbers(tree)
    assert found.find(**LABELS | {"step": "9"}, metric="accuracy") is not None
    with pytest.raises(ValueError) as caught:
        found.find(**LABELS, metric="accuracy")
    assert str(caught.value) == (
        f"{path}:3: a second row for seed '0' in a cell (they differ in transform: 'none', "
        f"'other'); move all but one of these away: {path}:2, {path}:3"
    )


def test_numbers_along_a_column_are_in_its_order(tree: Any) -> None:
    tree.measured([tree.row(float(step), step=step) for step in (200, 30, 1000)])
    rows = load_results(tree.path).ours
    found = Numbers(rows.assign(step=rows["step"].astype(int)), ("method", "step"))
    assert [*found.along("step", method="equizero")] == [30, 200, 1000]
    lines = [{"method": "equizero"}, {"method": "equitune"}]
    [curves] = found.panels(lines, (), ("method",), "step").values()
    assert [*curves] == [("equizero",)]


def test_lines_stand_in_their_blocks_in_the_order_of_methods(tree: Any) -> None:
    tree.measured(
        [
            *tree.rows([70.0, 74.0]),
            *tree.rows([50.0], method="equitune"),
            *tree.rows([1.0], metric="loss"),
            *tree.rows([60.0], model="GRU", method="lambda_equitune"),
        ]
    )
    table = build(tree)
    assert table.headers == ("way", "accuracy", "n", "further: steps")
    assert {block.title: block.rows for block in table.blocks} == {
        "scale=paper, model=GRU": (("lambda_equitune", "60.0 (\N{EN DASH})", "1/0", "none"),),
        "scale=paper, model=LSTM": (
            ("equitune", "50.0 (\N{EN DASH})", "1/0", "none"),
            ("equizero", "72.0 (2.8)", "2/1", "none"),
        ),
    }
    assert table.notes[-1] == "a note"
    assert table.commands == ()


def test_a_missing_cell_and_a_scale_without_blocks_have_a_command(tree: Any) -> None:
    tree.measured([tree.row(1.0, metric="loss"), tree.row(2.0, metric="loss", model="GRU")])
    assert build(tree, scales=("demo", "paper")).commands == (
        "python run.py experiment=table2 scale=demo",
        "python run.py experiment=table2 scale=paper model=GRU",
        "python run.py experiment=table2 scale=paper",
    )
    assert build(tree, scales=("demo",)).notes[-1] == "nothing"


def test_the_notes_tell_of_the_rows_that_are_shown(tree: Any) -> None:
    tree.measured(tree.rows([75.0, 77.0]))
    assert not any("fresh" in note for note in build(tree).notes)
    tree.run("a", [tree.row(76.0, seed=1), tree.row(78.0, seed=2), tree.row(1.0, step=9)])
    table = build(tree)
    assert (
        "2 rows from fresh runs, 1 of them in place of a different committed value" in table.notes
    )
    assert not any("one seed" in note for note in table.notes)
    tree.run("b", [tree.row(5.0, model="GRU"), tree.row(6.0, scale="demo")])
    both = build(tree, scales=("paper", "demo")).notes
    assert "(\N{EN DASH}): n = 1, one seed has no spread" in both
    assert any(note.startswith("scale = demo, n = 1:") for note in both)


def test_the_spread_is_the_users_choice_and_the_first_note_names_it(tree: Any) -> None:
    tree.measured(tree.rows([70.0, 75.0, 80.0]))
    sample, reference = build(tree), build(tree, spread="reference")
    assert [table.blocks[0].rows[0][1] for table in (sample, reference)] == [
        *("75.0 (5.0)", "75.0 (4.5)")
    ]
    assert "sample standard deviation over seeds (ddof = 1)" in sample.notes[0]
    assert "each seed's value stored twice" in reference.notes[0]


def test_a_command_names_what_differs_from_its_preset() -> None:
    assert axes("figure8")["model"] == ("RN50", "RN101", "ViT-B-32", "ViT-B-16")
    assert axes("figure8")["dataset"] == ("cifar100",)
    assert axes("figure2")["task.regime"] == ("reference", "modern")
    cells = [{"scale": "paper", "model": "RN50", "dataset": "cifar100", "regime": "tuned"}]
    assert command("figure8", cells, ("scale", "model", "dataset", "task.regime")) == (
        "python run.py experiment=figure8 scale=paper model=RN50 task.regime=tuned"
    )


def test_a_label_may_be_shown_otherwise_and_a_line_may_say_what_it_lacks(tree: Any) -> None:
    tree.measured([*tree.rows([1.0, 2.0]), *tree.rows([3.0], method="equitune")])
    spec = replace(
        SPEC,
        texts={"method": str.upper},
        lacks=lambda line: len(line.numbers.values(**line.labels)) < 2,
    )
    table = spec.build(numbers(tree), Options())
    assert [row[0] for row in table.blocks[0].rows] == ["EQUITUNE", "EQUIZERO"]
    assert table.commands == ("python run.py experiment=table2 scale=paper",)
    lines = [labels | {"preset": "table8"} for labels in spec.find(numbers(tree))]
    table = spec.build(numbers(tree), Options(), lines)
    assert table.commands == ("python run.py experiment=table8 scale=paper model=LSTM",)


def test_panels_have_the_curves_of_lines(tree: Any) -> None:
    tree.measured([tree.row(float(step), step=step) for step in (1, 2)])
    rows = load_results(tree.path).ours
    found = Numbers(rows.assign(step=rows["step"].astype(int)), ("model", "method", "step"))
    lines = [{"model": "LSTM", "method": name} for name in ("equizero", "equitune")]
    panels = found.panels(lines, ("model",), ("method",), "step")
    assert panels == {
        ("LSTM",): {("equizero",): {1: Number(1.0, None, 1), 2: Number(2.0, None, 1)}}
    }
    assert arms("cnn_zero_shot")[3] == {"method": "equizero", "loss": "entropy"}


def test_the_table_on_the_page_about_extending_is_a_whole_one(tree: Any) -> None:
    page = Path(__file__).parents[2] / "docs" / "extend.md"
    text = page.read_text(encoding="utf-8")
    [code] = re.findall(
        r"```python\n# report/artefacts/scan/overview.py\n(.*?)```", text, re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(code, "overview.py", "exec"), names)
    tree.measured([*tree.rows([70.0, 74.0]), tree.row(1.0, split="validation")])
    [block] = names["overview_table"](load_results(tree.path), Options()).blocks
    assert block.rows == (("LSTM", "verb", "equizero", "72.0 (2.8)", "2"),)
