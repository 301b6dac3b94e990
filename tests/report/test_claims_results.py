"""The committed claims on the committed rows say what the documentation says."""

from __future__ import annotations

from collections import Counter

import pytest

from report.claims.judge import Cell
from report.claims.statistics import VERDICTS
from report.claims.verdicts import Report, make_report
from tests.report.conftest import ROOT

YES, NO, OPEN = "reproduced", "not reproduced", "undecided"
LANGUAGE = {"protocol": "paper", "model": "smollm2"}
HOLDS, FAILS = "holds", "does not hold"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    # Without `runs/`: what is on this machine beside the committed rows does not matter.
    results = tmp_path_factory.mktemp("results")
    for name in ("paper", "measured"):
        (results / name).symlink_to(ROOT / "results" / name)
    return make_report(results, "paper", ROOT)


def cells(report: Report, claim: str, **wanted: str) -> list[Cell]:
    """The cells of a claim with some labels, or of one comparison."""
    comparison = wanted.pop("comparison", "")
    return [
        cell
        for cell in report.cells
        if cell.claim.id == claim and comparison in ("", cell.comparison)
        if wanted.items() <= cell.labels.items()
    ]


def test_every_cell_has_a_verdict_and_what_is_missing_a_command(report: Report) -> None:
    for cell in report.cells:
        assert cell.verdict in VERDICTS
        if cell.claim.kind != "test":
            assert (cell.verdict == "not run here") == bool(cell.command)
            assert (cell.verdict == OPEN) == bool(cell.lacks)


@pytest.mark.parametrize(
    ("claim", "wanted", "counts"),
    [
        ("dqn-order", {"comparison": "equizero > equitune"}, {NO: 4, OPEN: 2}),
        ("dqn-order", {"comparison": "equitune > pretrained"}, {YES: 4, OPEN: 2}),
        ("cnn-equizero-untrained", {"model": "ResNet20"}, {NO: 4}),
        ("cnn-equizero-untrained", {"model": "SmallAlexNet"}, {NO: 2}),
        ("clip-drop", {"model": "SmallCLIP"}, {YES: 4}),
        ("clip-order", {"model": "SmallCLIP"}, {YES: 8}),
        # The two lambdas of Figure 12 disagree.
        ("clip-lambda-upright", {"model": "SmallCLIP", "protocol": "paper"}, {YES: 3}),
        ("clip-lambda-upright", {"model": "SmallCLIP", "protocol": "reference"}, {NO: 3}),
        # Fine-tuned SmallCLIPs are departures.
        ("clip-lambda-tuned", {}, {"not run here": 4}),
        ("fairness-bias", LANGUAGE, {YES: 4, OPEN: 14}),
        ("fairness-debias", LANGUAGE | {"comparison": "Equi"}, {YES: 18}),
        ("fairness-debias", LANGUAGE | {"comparison": "R-Equi"}, {OPEN: 17, NO: 1}),
        ("fairness-regard", LANGUAGE | {"comparison": "Equizero > Equi"}, {YES: 18, OPEN: 18}),
        ("fairness-equitune", LANGUAGE | {"comparison": "R-Equi - pretrained"}, {YES: 8, OPEN: 28}),
    ],
)
def test_verdicts(
    report: Report, claim: str, wanted: dict[str, str], counts: dict[str, int]
) -> None:
    found = cells(report, claim, **wanted)
    assert Counter(cell.verdict for cell in found) == counts


@pytest.mark.parametrize(
    ("claim", "wanted", "held"),
    [
        ("scan-zero-shot", {}, {HOLDS}),
        ("scan-zero-shot-validation", {"comparison": "equitune > pretrained"}, {FAILS}),
        ("scan-tuned", {"protocol": "reference"}, {HOLDS, FAILS}),
        ("cnn-order", {"step": "10"}, {HOLDS}),
        # Text and appendix contradict each other about transformers.
        ("clip-lambda-beats-equizero", {}, {HOLDS}),
        ("clip-lambda-vit-b-32", {}, {HOLDS}),
        ("clip-lambda-appendix", {}, {FAILS}),
    ],
)
def test_the_paper_s_own_numbers(
    report: Report, claim: str, wanted: dict[str, str], held: set[str]
) -> None:
    found = cells(report, claim, **wanted)
    assert {cell.paper.verdict for cell in found if cell.paper} == held


def test_nothing_contradicts_the_paper_s_order_of_scan_and_of_probed_cnns(report: Report) -> None:
    scan = cells(report, "scan-zero-shot")
    assert all(cell.found and cell.found.value > 0 for cell in scan)
    cnn = [cell for cell in cells(report, "cnn-order") if cell.stand_in]
    theory = [cell for cell in cells(report, "theorem-1") if cell.found]
    for found, verdicts in ((scan, {YES, OPEN}), (cnn, {YES, OPEN}), (theory, {YES})):
        assert YES in {cell.verdict for cell in found} <= verdicts


def test_equizero_leads_on_untrained_cnns_by_a_tenth(report: Report) -> None:
    found = [cell.found for cell in cells(report, "cnn-equizero-untrained") if cell.found]
    assert {each.basis for each in found} == {"images"}
    leads = sorted(-each.value for each in found)
    assert leads[0] == pytest.approx(7.69) and leads[-1] == pytest.approx(10.57)
