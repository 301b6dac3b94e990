"""Loading and validating rows, and which of two numbers wins."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.files import sha256
from experiments.frame.methods import METHODS
from experiments.frame.record_files import seal
from report.results import load_results, select
from report.rows import KEY_COLUMNS, read_metrics, read_reported

REPORTED = Path(__file__).resolve().parents[2] / "results" / "paper" / "reported.csv"


def refusal(tree: Any, **options: Any) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(ValueError) as caught:
        load_results(tree.path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"method": "equizer"},
            f"unknown method 'equizer'; choose from {', '.join(METHODS)}",
        ),
        ({"protocol": "reported"}, "unknown protocol 'reported'; choose from reference, paper"),
        ({"scale": "full"}, "unknown scale 'full'; choose from paper, demo"),
        ({"value": "75,2"}, "value '75,2' is not a number"),
        ({"value": ""}, "value '' is not a number"),
        ({"value": "nan"}, "value 'nan' is not finite; NaN and infinity are refused"),
        ({"value": "-inf"}, "value '-inf' is not finite; NaN and infinity are refused"),
    ],
)
@pytest.mark.parametrize("place", ["run", "measured"])
def test_an_invalid_row_is_refused_with_file_and_line(
    tree: Any, place: str, changes: dict[str, str], expected: str
) -> None:
    rows = [*tree.rows([70.0, 71.0]), tree.row(72.0, seed=2) | changes]
    path = tree.run("a", rows) if place == "run" else tree.measured(rows)
    if place == "run" and "method" in changes:  # the user's own method may be gone
        tree.run("b", tree.rows([70.0]))
        results = load_results(tree.path)
        assert [*results.ours["where"]] == [f"{path.parents[1] / 'b' / 'metrics.csv'}:2"]
        assert results.gaps == (
            f"{path.parent} is left out: its method 'equizer' is not registered; register the "
            "method, or remove this folder",
        )
        return
    assert refusal(tree) == f"{path}:4: {expected}"


@pytest.mark.parametrize("column", [*KEY_COLUMNS, "value"])
def test_a_missing_column_is_refused(tree: Any, column: str) -> None:
    path = tree.run("a", tree.rows([70.0]))
    lines = path.read_text().replace(column, "other", 1)
    path.write_text(lines)
    assert refusal(tree).startswith(f"{path}:1: missing column {column}; needed: task, dataset,")


def test_the_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_column(tree: Any) -> None:
    path = tree.measured(tree.rows([70.0, 71.0]))
    expected = load_results(tree.path).ours
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert len(expected) == 2 and load_results(tree.path).ours.equals(expected)


def test_an_empty_file_is_refused(tree: Any) -> None:
    path = tree.run("a", [])
    path.write_text("")
    assert refusal(tree).startswith(f"{path}:1: missing column task, dataset")


@pytest.mark.parametrize("change", [lambda line: line + ",9", lambda line: line.rsplit(",", 1)[0]])
def test_a_line_of_another_length_is_refused(tree: Any, change: Any) -> None:
    path = tree.run("a", tree.rows([70.0, 71.0]))
    header, first, second = path.read_text().splitlines()
    path.write_text("\n".join([header, first, change(second)]) + "\n")
    assert refusal(tree) == f"{path}:3: not 15 fields, as the header has"


def test_what_is_not_csv_in_utf8_is_refused(tree: Any) -> None:
    path = tree.run("a", tree.rows([70.0]))
    path.write_bytes(path.read_bytes() + b'scan,"open')
    assert refusal(tree).startswith(f"{path}:3: not CSV in UTF-8")  # where the quote is left open
    header = path.read_bytes().split(b"\n")[0]
    for line in (b'4,"5"x,6', b'"open\n\n\n'):
        path.write_bytes(header + b"\n" + line + b"\n")
        assert refusal(tree).startswith(f"{path}:2: not CSV in UTF-8")
    path.write_bytes(header + b"\n\xff\n")
    assert "not CSV in UTF-8" in refusal(tree)


def test_a_file_that_contradicts_itself_is_refused_at_every_scale(tree: Any) -> None:
    rows = [*tree.rows([70.0, 71.0], scale="demo"), tree.row(70.5, scale="demo")]
    path = tree.run("a", rows)
    message = refusal(tree, scales=("paper",))
    assert message.startswith(f"{path}:4: value 70.5 contradicts 70.0 at {path}:2 for the same key")
    assert "method=equizero" in message and "view=" not in message


def test_the_same_number_twice_is_one_number(tree: Any) -> None:
    tree.run("a", [tree.row("70.0"), tree.row("70.00")])
    tree.run("b", [tree.row("70")])
    tree.measured([tree.row("7e1")])
    ours = load_results(tree.path).ours
    assert list(ours["value"]) == [70.0]
    assert list(ours["origin"]) == ["measured"]


def test_a_finished_run_wins_over_a_committed_value(tree: Any) -> None:
    tree.measured(tree.rows([70.0, 71.0]))
    path = tree.run("a", [tree.row(75.0, seed=1), tree.row(72.0, seed=2)])
    ours = load_results(tree.path).ours.sort_values("seed")
    assert list(ours["value"]) == [70.0, 75.0, 72.0]
    assert list(ours["origin"]) == ["measured", "replaced", "fresh"]
    assert list(ours["where"])[1] == f"{path}:2"


def test_two_runs_that_contradict_each_other_are_refused(tree: Any) -> None:
    first, second = tree.run("a", [tree.row(70.0)]), tree.run("b", [tree.row(71.0)])
    message = refusal(tree)
    assert message.startswith(f"{second}:2: value 71.0 contradicts 70.0 at {first}:2 ")


def test_of_runs_of_machines_of_different_precision_the_last_counts(tree: Any) -> None:
    for name, value, day, precision in (
        ("a", 71.0, "02", "float32"),
        ("b", 70.0, "01", "bfloat16"),
    ):
        identity = {"pretrained_by": {"recipe": {"precision": precision, "epochs": 5}}, "seed": 0}
        tree.run(name, [tree.row(value)], identity=identity, started=f"2026-11-{day}")
    results = load_results(tree.path)
    assert list(results.ours["value"]) == [71.0]
    assert results.skipped == {"done again on a machine of another precision": 1}
    # Another recipe, or a precision that a row's label tells, is another run.
    other = {"pretrained_by": {"recipe": {"precision": "float32", "epochs": 6}}, "seed": 0}
    tree.run("c", [tree.row(72.0)], identity=other, started="2026-11-03")
    assert "contradicts" in refusal(tree)


def test_two_committed_files_that_contradict_each_other_are_refused(tree: Any) -> None:
    first = tree.measured([tree.row(70.0)], name="a")
    second = tree.measured([tree.row(71.0)], name="b")
    assert refusal(tree).startswith(f"{second}:2: value 71.0 contradicts 70.0 at {first}:2 ")


def test_only_the_asked_scale_and_task_are_loaded_and_compared(tree: Any) -> None:
    tree.run("a", [tree.row(70.0, scale="demo")])
    tree.run("b", [tree.row(71.0, scale="demo"), tree.row(72.0)])
    assert list(load_results(tree.path, scales=("paper",)).ours["value"]) == [72.0]
    assert load_results(tree.path, tasks=("cnn",)).ours.empty


def test_runs_that_are_not_done_are_skipped_and_counted(tree: Any) -> None:
    tree.run("a", [tree.row(1.0)], status="running")
    tree.run("b", [tree.row(2.0)], status="failed")
    tree.run("c", [tree.row(3.0)], status="failed")
    tree.run("d", [tree.row(4.0)]).with_name("record.json").unlink()
    tree.run("e", [tree.row(5.0)]).with_name("record.json").write_text("{")
    tree.run("f", [tree.row(6.0)])
    tree.run("g", []).unlink()
    results = load_results(tree.path)
    assert list(results.ours["value"]) == [6.0]
    assert results.skipped == {
        "running": 1,
        "failed": 2,
        "without record": 1,
        "unreadable record": 1,
    }


def test_metrics_and_records_that_were_changed_are_skipped_and_counted(tree: Any) -> None:
    for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        path = tree.run(name, [tree.row(value)])
        record = json.loads(path.with_name("record.json").read_text())
        sealed = seal(record | {"metrics_sha256": sha256(path)})
        path.with_name("record.json").write_text(json.dumps(sealed))
        if name == "a":
            path.write_text(path.read_text().replace("1.0", "9.0"))
        if name == "b":
            changed = json.dumps(sealed).replace('"done"', '"dome"')
            path.with_name("record.json").write_text(changed)
    results = load_results(tree.path)
    assert list(results.ours["value"]) == [3.0]
    assert results.skipped == {"metrics changed": 1, "unreadable record": 1}


def test_committed_rows_need_the_record_of_a_finished_run(tree: Any) -> None:
    path = tree.measured(tree.rows([70.0]), status="failed")
    sibling = path.with_suffix(".json")
    assert refusal(tree) == (
        f"{path}:2: run 'some-run' has no record with status done in {sibling}"
    )
    sibling.write_text("{")
    assert refusal(tree).startswith(f"{sibling}: not JSON")
    sibling.unlink()
    assert refusal(tree) == f"{path}: its runs' records are missing; expected {sibling}"


def test_empty_cells_stay_empty_text(tree: Any) -> None:
    tree.run("a", [tree.row(70.0, step="", variant="")])
    ours = load_results(tree.path).ours
    assert len(select(ours, step="", variant="")) == 1
    assert len(select(ours, step=("", "0"), variant="x")) == 0


def test_a_folder_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder with paper, measured, runs; --results names"):
        load_results(tmp_path)


def test_without_the_papers_numbers_ours_are_read_and_the_gap_is_named(tree: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    assert load_results(tree.path).gaps == ()
    (tree.path / "paper" / "reported.csv").unlink()
    results = load_results(tree.path)
    assert len(results.ours) == 1 and len(results.reported) == 0
    assert results.gaps == (
        f"{tree.path}/paper/reported.csv is missing: none of the paper's numbers is shown; "
        "git checkout restores it",
    )


def test_a_committed_file_that_is_gone_is_named_where_its_records_are_there(tree: Any) -> None:
    tree.measured([tree.row(70.0)], "kept")
    path = tree.measured([tree.row(60.0, seed="1")], "lost")
    assert load_results(tree.path).gaps == ()
    path.unlink()
    results = load_results(tree.path)
    assert len(results.ours) == 1
    assert results.gaps == (
        f"{path} is missing: its rows are not counted; git checkout restores it",
    )
    assert load_results(tree.path, ("dqn",)).gaps == ()


def test_the_committed_numbers_of_the_paper_load() -> None:
    rows = read_reported(REPORTED)
    assert len(rows) == 324
    table2 = [row for row in rows if row.cells["artefact"] == "table2"]
    assert len(table2) == 12
    assert table2[5].value == 75.2 and table2[5].cells["std"] == "1.5"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (",table,$", ",prose,", ":{line}: unknown source 'prose'; choose from table, "),
        (",reported,", ",paper,", ":{line}: unknown protocol 'paper'; choose from reported"),
        (r",1\.5,table", ",about 1,table", ":{line}: std 'about 1' is not a number"),
        (r",1\.5,table", ",nan,table", ":{line}: std 'nan' is not finite"),
    ],
)
def test_an_invalid_number_of_the_paper_is_refused(
    tree: Any, pattern: str, text: str, expected: str
) -> None:
    path = tree.path / "paper" / "reported.csv"
    lines = path.read_text().splitlines()
    line = next(n for n, row in enumerate(lines) if re.search(pattern, row))
    lines[line] = re.sub(pattern, text, lines[line], count=1)
    path.write_text("\n".join(lines) + "\n")
    assert refusal(tree).startswith(f"{path}{expected.format(line=line + 1)}")


def test_a_number_that_the_paper_gives_twice_is_refused(tree: Any) -> None:
    path = tree.path / "paper" / "reported.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[13] + "\n")
    assert refusal(tree).startswith(f"{path}:326: the same key as {path}:14 (")


def test_other_columns_are_allowed(tree: Any) -> None:
    path = tree.run("a", tree.rows([70.0]))
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},comment\n{row},fine\n")
    assert [row.value for row in read_metrics(path)] == [70.0]


def test_the_rows_of_a_pretraining_are_no_results(tree: Any) -> None:
    tree.run("a", [tree.row(1.0, method="", protocol="", scale="")], stage="pretrain")
    tree.run("b", [tree.row(2.0)])
    results = load_results(tree.path)
    assert list(results.ours["value"]) == [2.0] and not results.skipped
