"""Claims judged on synthetic rows: every kind, every verdict, and what does not count."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from report.claims.judge import Cell
from report.claims.verdicts import Report, make_report
from scripts.claims import main
from tests.scripts.conftest import ROOT, ran

ORDER = {
    **{"id": "a", "statement": "It is so.", "where": "Table 2", "task": "scan", "kind": "above"},
    **{"methods": ["equizero", "equitune"], "metric": "accuracy", "per": ["model"]},
    **{"filters": {"dataset": "add_jump", "split": "test", "step": "", "group": "verb"}},
    **{"expect": {"model": ["LSTM"]}, "command": "table2 protocol={protocol} model={model}"},
}
BASE = {key: ORDER[key] for key in ("id", "statement", "where", "task", "metric")}
PAPER = {"artefact": "table2", "names": {"step": {"0": ""}}}


def write_claims(tree: Any, claim: Mapping[str, Any]) -> None:
    OmegaConf.save({"claims": [claim]}, tree.path / "paper" / "claims.yaml")


def report_of(tree: Any, claim: Mapping[str, Any], scale: str = "paper") -> Report:
    write_claims(tree, claim)
    return make_report(tree.path, scale, ROOT)


def cells_of(tree: Any, claim: Mapping[str, Any], scale: str = "paper") -> list[Cell]:
    return [*report_of(tree, claim, scale).cells]


def methods(
    tree: Any, higher: Sequence[float], lower: Sequence[float], **changes: object
) -> list[dict[str, str]]:
    """Rows of equizero and of equitune, one per seed."""
    rows = tree.rows(higher, method="equizero", **changes)
    return [*rows, *tree.rows(lower, method="equitune", **changes)]


@pytest.mark.parametrize(
    ("higher", "lower", "verdict"),
    [
        ([70, 71, 75], [10, 12, 11], "reproduced"),
        ([10, 12, 11], [70, 71, 75], "not reproduced"),
        ([50, 60, 70], [55, 50, 60], "undecided"),
        ([50, 60, 70], [50, 60, 70], "not reproduced"),
    ],
)
def test_an_order_is_decided_seed_by_seed(
    tree: Any, higher: list[float], lower: list[float], verdict: str
) -> None:
    tree.measured(methods(tree, higher, lower))
    [cell] = cells_of(tree, ORDER)
    assert cell.verdict == verdict
    assert cell.found is not None and cell.found.seeds == 3
    assert cell.found.value == pytest.approx((sum(higher) - sum(lower)) / 3)
    assert bool(cell.lacks) == (verdict == "undecided")
    assert cell.command == "" and not cell.stand_in


def test_seeds_that_lack_a_side_are_left_out(tree: Any) -> None:
    tree.measured(
        [tree.row(value, seed=seed) for seed, value in ((0, 70), (1, 71), (5, 99))]
        + [tree.row(value, seed=seed, method="equitune") for seed, value in ((1, 11), (0, 10))]
    )
    [cell] = cells_of(tree, ORDER)
    assert cell.found is not None and cell.found.seeds == 2
    assert cell.found.value == pytest.approx(60.0)


def test_without_rows_the_command_is_named(tree: Any) -> None:
    [cell] = cells_of(tree, ORDER)
    assert (cell.verdict, cell.models) == ("not run here", "LSTM")
    assert cell.command == "python run.py experiment=table2 protocol=paper model=LSTM scale=paper"
    tree.measured(tree.rows([70, 71, 72]))  # one side is not enough
    [cell] = cells_of(tree, ORDER)
    assert cell.verdict == "not run here"


def test_one_seed_decides_nothing_without_an_interval(tree: Any) -> None:
    tree.measured(methods(tree, [70], [10]))
    [cell] = cells_of(tree, ORDER)
    assert (cell.verdict, cell.lacks) == ("undecided", "one seed")


def test_one_seed_is_decided_by_a_difference_over_images_that_rows_bring(tree: Any) -> None:
    rows = methods(tree, [70], [60]) + tree.estimates([10.5], 2.0, "over_equitune")
    tree.measured(rows)
    for order, verdict, expected in (
        (["equizero", "equitune"], "reproduced", (10.5, (8.5, 12.5))),
        (["equitune", "equizero"], "not reproduced", (-10.5, (-12.5, -8.5))),
    ):
        [cell] = cells_of(tree, {**ORDER, "interval": "over_equitune", "methods": order})
        assert cell.found is not None and cell.found.basis == "images"
        assert (cell.verdict, cell.found[:2]) == (verdict, expected)
    tree.measured(rows[:-1])  # half an interval is none
    [cell] = cells_of(tree, {**ORDER, "interval": "over_equitune"})
    assert cell.found is not None and (cell.verdict, cell.found[:2]) == ("undecided", (10.5, None))


def test_seeds_that_repeat_a_number_count_once(tree: Any) -> None:
    """Nothing was drawn: the interval over images stays, instead of one without width."""
    rows = [
        row
        for seed in ("0", "1", "2")
        for row in [
            tree.row(70.0, seed=seed),
            tree.row(60.0, seed=seed, method="equitune"),
            *tree.estimates([10.0], 2.0, "over_equitune", seed=seed),
        ]
    ]
    tree.measured(rows)
    [cell] = cells_of(tree, {**ORDER, "interval": "over_equitune"})
    assert cell.found is not None and cell.found.basis == "images"
    assert cell.found[:2] == (10.0, (8.0, 12.0))
    # Without an interval of their own they are seeds.
    [cell] = cells_of(tree, ORDER)
    assert cell.found is not None and cell.found.interval == (10.0, 10.0)


def test_intervals_of_both_sides_are_joined_only_where_the_claim_says_so(tree: Any) -> None:
    rows = tree.estimates([70.0], 3.0, "accuracy")
    tree.measured(rows + tree.estimates([60.0], 4.0, "accuracy", method="equitune"))
    [cell] = cells_of(tree, ORDER)
    assert cell.verdict == "undecided"
    [cell] = cells_of(tree, {**ORDER, "unpaired": True})
    assert cell.found is not None and cell.found.basis == "images, unpaired"
    assert cell.found.value == 10.0 and cell.found.interval == pytest.approx((5.0, 15.0))
    assert cell.verdict == "reproduced"


def test_protocols_scales_and_stand_ins_are_judged_apart(tree: Any) -> None:
    tree.measured(
        [
            *methods(tree, [70, 71, 75], [10, 12, 11]),
            *methods(tree, [10, 12, 11], [70, 71, 75], protocol="reference"),
            *methods(tree, [10, 12, 11], [70, 71, 75], model="Tiny"),
            *methods(tree, [50, 52, 51], [50, 52, 51], scale="demo"),
        ]
    )
    report = report_of(tree, ORDER)
    found = {(c.protocol, c.models, c.stand_in): c.verdict for c in report.cells}
    assert found == {
        ("paper", "LSTM", False): "reproduced",
        ("paper", "Tiny", True): "not reproduced",
        ("reference", "LSTM", False): "not reproduced",
    }
    [block] = report.tables[1].blocks
    assert [(line[1], line[2], line[4]) for line in block.rows] == [
        ("paper", "LSTM", "reproduced"),
        ("paper", "Tiny (in place of the paper's)", "not reproduced"),
        ("reference", "LSTM", "not reproduced"),
    ]
    [cell] = cells_of(tree, ORDER, scale="demo")
    assert (cell.scale, cell.verdict) == ("demo", "not reproduced")


def test_departures_never_count_but_are_counted(tree: Any) -> None:
    tree.measured(methods(tree, [70, 71, 75], [10, 12, 11], variant="space=probabilities"))
    report = report_of(tree, ORDER)
    [cell] = report.cells
    assert cell.verdict == "not run here"
    notes = report.tables[1].notes
    assert (
        "a: 6 rows do not count, as their runs have other options than the "
        "protocol's: 'space=probabilities'" in notes
    )
    named = {**ORDER, "filters": {**ORDER["filters"], "variant": "space=probabilities"}}
    [cell] = cells_of(tree, named)
    assert cell.verdict == "reproduced"


def test_a_sum_weighs_its_terms_and_has_a_level(tree: Any) -> None:
    tree.measured(
        methods(tree, [70, 71, 75], [10, 12, 11])
        + methods(tree, [90, 91, 95], [88, 92, 90], step=10000)
    )
    steps = [(step, name) for step in ("", 10000) for name in ("equizero", "equitune")]
    comparison = {
        "name": "shrinks",
        "terms": [{"method": name, "step": step} for step, name in steps],
        "weights": [0.5, -0.5, -1, 1],
    }
    filters = {"dataset": "add_jump", "split": "test"}
    for kind, level, verdict in (
        ("above", 0, "reproduced"),
        ("above", 100, "not reproduced"),
        ("below", 100, "reproduced"),
    ):
        changes = {"kind": kind, "comparisons": [{**comparison, "level": level}]}
        [cell] = cells_of(tree, {**BASE, "filters": filters, "per": ["model"], **changes})
        assert cell.verdict == verdict
        assert cell.found and cell.found.value == pytest.approx(0.5 * 61.0 - 2.0)


@pytest.mark.parametrize(
    ("kind", "values", "verdict"),
    [
        ("equal", [0.1, -0.1, 0.0], "reproduced"),
        ("unequal", [0.1, -0.1, 0.0], "not reproduced"),
        ("bound", [0.0, 0.5, 0.1], "reproduced"),
        ("bound", [0.0, 1.5, 0.1], "not reproduced"),
    ],
)
def test_equality_difference_and_bounds(
    tree: Any, kind: str, values: list[float], verdict: str
) -> None:
    tree.measured(tree.rows(values))
    comparisons = [{"name": "it", "terms": [{"method": "equizero"}]}]
    [cell] = cells_of(tree, {**BASE, "kind": kind, "comparisons": comparisons, "margin": 1.0})
    assert cell.verdict == verdict
    if kind == "bound":
        assert cell.found is not None and cell.found.value == max(values)
        assert cell.found.basis == "largest of 3 rows"


def test_numbers_may_be_divided_and_margins_follow_a_column(tree: Any) -> None:
    tree.measured(methods(tree, [101, 99, 103], [100, 100, 100]))
    comparisons = [{"name": "ratio", "terms": [{"method": "equizero"}], "level": 1}]
    over = {"over": {"method": "equitune"}, "per": ["model"], "comparisons": comparisons}
    for model, verdict in (("LSTM", "reproduced"), ("GRU", "undecided")):
        margin = {"model": {model: 0.1}}
        [cell] = cells_of(tree, {**BASE, **over, "kind": "equal", "margin": margin})
        assert cell.found is not None and cell.found.value == pytest.approx(1.01)
        assert cell.verdict == verdict


def test_a_test_is_looked_up_and_not_run(tree: Any) -> None:
    own = "tests/scripts/test_claims.py::test_a_test_is_looked_up_and_not_run"
    claim = {key: ORDER[key] for key in ("id", "statement", "where", "task")} | {"kind": "test"}
    names = [own, own + "_either", "tests/none.py::test"]
    found = cells_of(tree, {**claim, "tests": names})
    assert [cell.verdict for cell in found] == ["tested", "not run here", "not run here"]
    [cell] = cells_of(tree, {**claim, "tests": []})
    assert (cell.verdict, cell.lacks) == ("not run here", "no test")


def test_the_paper_s_own_numbers_are_compared_alike(tree: Any) -> None:
    [cell] = cells_of(tree, ORDER)
    assert cell.paper is None
    [cell] = cells_of(tree, {**ORDER, "paper": PAPER})
    assert cell.paper is not None and cell.paper.verdict == "holds"
    assert cell.paper.value == pytest.approx(75.2 - 7.1)
    assert cell.paper.spread == pytest.approx((1.5**2 + 1.3**2) ** 0.5)
    report = report_of(tree, {**ORDER, "paper": PAPER, "methods": ["equitune", "equizero"]})
    assert [c.paper and c.paper.verdict for c in report.cells] == ["does not hold"]
    [[line]] = [block.rows for block in report.tables[1].blocks]
    assert line[-2:] == ("0 / 1", "does not hold")


def test_the_paper_s_numbers_stand_beside_a_stand_in_that_names_it(tree: Any) -> None:
    tree.measured(methods(tree, [70, 71, 75], [10, 12, 11], model="Tiny"))
    claim = {**ORDER, "paper": PAPER, "stands_for": {"Tiny": "LSTM"}}
    found = {cell.models: cell.paper for cell in cells_of(tree, claim)}
    assert found["Tiny"] is not None and found["Tiny"] == found["LSTM"]


def test_two_numbers_for_one_term_are_refused_with_the_claim(tree: Any) -> None:
    loose = {"artefact": ["table2", "table10"], "filters": {"step": []}}
    message = "claim 'a': two numbers for LSTM in one term: 75.2 at table2, 97.9 at table10; "
    with pytest.raises(ValueError, match=message):
        report_of(tree, {**ORDER, "paper": loose})
    tree.measured([tree.row(1.0), tree.row(2.0, group="verb4"), tree.row(3.0, method="equitune")])
    filters = {"dataset": "add_jump", "split": "test", "step": ""}
    message = r"claim 'a': two numbers for paper, LSTM, 0 in one term: 1 at .*:2, 2 at .*:3; "
    with pytest.raises(ValueError, match=message):
        report_of(tree, {**ORDER, "filters": filters})


def test_a_verdict_that_fails_holm_s_correction_is_undecided(tree: Any) -> None:
    names = ["add_jump", "around_right", "third"]
    close = [methods(tree, [14.0, 13.2, 15.4], [10.0] * 3, dataset=name) for name in names]
    tree.measured([row for rows in close for row in rows])
    filters = {"split": "test", "step": "", "dataset": names}
    for cell in cells_of(tree, {**ORDER, "filters": filters, "per": ["dataset"]}):
        assert cell.p is not None and cell.adjusted == pytest.approx(3 * cell.p)
        assert (cell.verdict, cell.corrected) == ("reproduced", "undecided")


def test_it_prints_and_writes_a_line_per_cell(tree: Any, tmp_path: Path, capsys: Any) -> None:
    tree.measured(methods(tree, [70, 71, 75], [10, 12, 11]))
    write_claims(tree, ORDER)
    arguments = ["--results", str(tree.path), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--all"]) == 0
    assert "equizero > equitune" in capsys.readouterr().out
    with (tmp_path / "out" / "claims.csv").open(encoding="utf-8") as stream:
        [line] = csv.DictReader(stream)
    assert line["claim"] == "a" and line["verdict"] == "reproduced" and line["model"] == "LSTM"
    assert float(line["low"]) < float(line["difference"]) < float(line["high"])
    assert (line["n"], line["basis"], line["paper_verdict"]) == ("3", "seeds", "not reported")
    for ending in ("md", "tex"):
        text = (tmp_path / "out" / f"claims.{ending}").read_text(encoding="utf-8")
        assert "It is so." in text and "reproduced" in text
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(arguments) == 0
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_it_prints_a_line_for_each_claim_and_the_cells_of_those_that_are_named(
    tree: Any, tmp_path: Path, capsys: Any
) -> None:
    tree.measured(methods(tree, [70, 71, 75], [10, 12, 11], model="Tiny"))
    others = [
        ORDER | {"id": "b", "statement": "So it is, " + "very " * 40, "of": "ours"},
        ORDER | {"id": "contrary", "methods": ["equitune", "equizero"], "expect": {}},
    ]
    OmegaConf.save({"claims": [ORDER, *others]}, tree.path / "paper" / "claims.yaml")
    out = tmp_path / "out"
    arguments = ["--results", str(tree.path), "--out", str(out)]
    assert main(arguments) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Claims of the paper, 2 in all: 1 reproduced, 1 not reproduced"
    assert lines[2] == "a reproduced* It is so. Table 2"
    assert lines[3] == "contrary not reproduced It is so. Table 2"
    assert lines[5] == "Claims of our own, 1 in all: 1 reproduced"
    assert any(line.startswith("not run here: no such runs were done") for line in lines)
    assert any(line.startswith("tested: theory without a number") for line in lines)
    assert lines[7].startswith("b reproduced* So it is, very very") and "very… Table 2" in lines[7]
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    for path in out.iterdir():
        path.unlink()
    assert main([*arguments, "contrary"]) == 0
    printed = capsys.readouterr().out
    assert "equitune > equizero" in printed and "equizero > equitune" not in printed
    assert written == {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_misspelt_claim_is_one_line(tree: Any, capsys: Any) -> None:
    write_claims(tree, ORDER | {"id": "contrary"})
    with pytest.raises(SystemExit) as caught:
        main(["--results", str(tree.path), "contary"])
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == ""
    line = "claims.py: claim=contary is not known (did you mean contrary?); "
    assert printed.err.startswith(line) and printed.err.count("\n") == 1


def test_it_imports_no_framework(tree: Any) -> None:
    tree.measured(methods(tree, [70, 71, 75], [10, 12, 11]))
    write_claims(tree, ORDER)
    heavy = "{'torch', 'hydra', 'matplotlib', 'equitune', 'experiments.scan', 'experiments.dqn'}"
    code = (
        "import sys; from scripts.claims import main; "
        f"assert main(['--results', {str(tree.path)!r}]) == 0; "
        f"print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    assert ran("-c", code).stderr.strip() == ""
