"""The committed claims on the committed rows say what the documentation says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from report.claims.judge import Cell
from report.claims.statistics import VERDICTS
from report.claims.verdicts import Report, make_report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    # Without `runs/`: what is on this machine beside the committed rows does not matter.
    results = tmp_path_factory.mktemp("results")
    for name in ("paper", "measured"):
        (results / name).symlink_to(ROOT / "results" / name)
    return make_report(results, "paper", ROOT)


def cells(report: Report, claim: str, **wanted: str) -> list[Cell]:
    found = [
        cell
        for cell in report.cells
        if cell.claim.id == claim
        and all(cell.labels.get(name) == text for name, text in wanted.items())
    ]
    assert found
    return found


def verdicts(found: list[Cell]) -> set[str]:
    return {cell.verdict for cell in found}


def test_every_cell_has_a_verdict_and_what_is_missing_a_command(report: Report) -> None:
    for cell in report.cells:
        assert cell.verdict in VERDICTS
        assert cell.claim.kind == "test" or (cell.verdict == "not run here") == bool(cell.command)
        assert (cell.verdict == "undecided") == bool(cell.lacks) or cell.claim.kind == "test"


def test_the_order_of_deep_q_learning_is_nowhere(report: Report) -> None:
    for dataset in ("gridworld", "cartpole", "acrobot"):
        found = cells(report, "dqn-order", dataset=dataset)
        assert len(found) == 4 and verdicts(found) != {"reproduced"}
        assert {cell.found.seeds for cell in found if cell.found} == {16}
    better = [c for c in cells(report, "dqn-order") if c.comparison == "equizero > equitune"]
    assert Counter(c.verdict for c in better) == {"not reproduced": 4, "undecided": 2}
    helps = [c for c in cells(report, "dqn-order") if c.comparison == "equitune > pretrained"]
    assert Counter(c.verdict for c in helps) == {"reproduced": 4, "undecided": 2}


def test_scan_is_in_the_paper_s_order_and_never_against_it(report: Report) -> None:
    found = cells(report, "scan-zero-shot")
    assert verdicts(found) <= {"reproduced", "undecided"}
    assert {cell.paper.verdict for cell in found if cell.paper} == {"holds"}
    assert all(cell.found and cell.found.value > 0 for cell in found)
    validation = cells(report, "scan-zero-shot-validation")
    assert {c.paper.verdict for c in validation if c.paper and "pretrained" in c.comparison} == {
        "does not hold"
    }


def test_the_fine_tuned_scan_tables_contradict_the_text_in_cells(report: Report) -> None:
    held = [c.paper.verdict for c in cells(report, "scan-tuned", protocol="reference") if c.paper]
    assert Counter(held) == {"holds": 3, "does not hold": 3}


def test_equizero_is_better_than_equitune_on_untrained_cnns(report: Report) -> None:
    found = [cell for cell in cells(report, "cnn-equizero-untrained") if cell.stand_in]
    assert len(found) == 6 and verdicts(found) == {"not reproduced"}
    assert {cell.found.basis for cell in found if cell.found} == {"images"}
    leads = sorted(-cell.found.value for cell in found if cell.found)
    assert leads[0] == pytest.approx(7.42) and leads[-1] == pytest.approx(10.49)


def test_probed_cnns_are_in_the_paper_s_order(report: Report) -> None:
    found = [cell for cell in cells(report, "cnn-order") if cell.stand_in]
    assert "reproduced" in verdicts(found) and "not reproduced" not in verdicts(found)
    assert {cell.paper.verdict for cell in found if cell.paper and cell.labels["step"]} == {"holds"}


def test_small_clips_are_in_the_paper_s_order_and_are_named(report: Report) -> None:
    for claim in ("clip-drop", "clip-order"):
        found = [cell for cell in cells(report, claim) if cell.found]
        assert verdicts(found) == {"reproduced"}
        assert {(cell.models, cell.stand_in) for cell in found} == {("SmallCLIP", True)}


def test_the_two_lambdas_of_figure_12_disagree(report: Report) -> None:
    for protocol, verdict in (("paper", "reproduced"), ("reference", "not reproduced")):
        found = cells(report, "clip-lambda-upright", protocol=protocol, model="SmallCLIP")
        assert verdicts(found) == {verdict}


def test_text_and_appendix_contradict_each_other_about_transformers(report: Report) -> None:
    for claim, held in (
        ("clip-lambda-beats-equizero", "holds"),
        ("clip-lambda-vit-b-32", "holds"),
        ("clip-lambda-appendix", "does not hold"),
    ):
        assert {cell.paper.verdict for cell in cells(report, claim) if cell.paper} == {held}


def test_fine_tuned_small_clips_are_departures(report: Report) -> None:
    assert verdicts(cells(report, "clip-lambda-tuned")) == {"not run here"}


def test_theorem_1_holds_and_propositions_are_never_reproduced(report: Report) -> None:
    found = [cell for cell in cells(report, "theorem-1") if cell.found]
    assert verdicts(found) == {"reproduced"}
    for claim in ("theorem-2", "proposition-1", "proposition-2"):
        assert verdicts(cells(report, claim)) <= {"tested", "not run here"}
