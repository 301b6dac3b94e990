"""The committed claims on fairness, on synthetic rows whose verdicts are known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from report.claims.cells import Cell
from report.claims.verdicts import make_report

ROOT = Path(__file__).resolve().parents[2]
GAP = {"metric": "regard_gap", "view": "man - woman"}
RELAXED = "relaxed=True"


def rows(tree: Any, value: float, half: float, **changes: str) -> list[dict[str, str]]:
    """A number about men and women, with its interval over sentences."""
    common = {
        **{"task": "fairness", "dataset": "respect", "model": "gpt2", "group": "man_woman"},
        **{"split": "words", "view": "man"},
    } | changes
    ends = {"": value, "_low": value - half, "_high": value + half}
    return [
        tree.row(number, **common | {"metric": f"{common['metric']}{end}"})
        for end, number in ends.items()
    ]


def cells(tree: Any, found: list[dict[str, str]], claim: str) -> dict[str, Cell]:
    """The cells of a claim that have rows, by comparison."""
    shutil.copy(ROOT / "results" / "paper" / "claims.yaml", tree.path / "paper")
    tree.measured(found, task="fairness")
    report = make_report(tree.path, "paper", ROOT)
    return {cell.comparison: cell for cell in report.cells if cell.claim.id == claim and cell.found}


@pytest.mark.parametrize(
    ("gap", "verdict"), [(40.0, "reproduced"), (-40.0, "reproduced"), (3.0, "undecided")]
)
def test_there_is_a_bias_where_the_interval_of_the_gap_leaves_zero(
    tree: Any, gap: float, verdict: str
) -> None:
    [cell] = cells(tree, rows(tree, gap, 5, method="pretrained", **GAP), "fairness-bias").values()
    assert cell.verdict == verdict and cell.found and cell.found.basis == "sentences"
    assert cell.labels["split"] == "words" and not cell.stand_in


def test_groups_are_treated_alike_where_the_gap_is_within_five_points(tree: Any) -> None:
    found = [
        *rows(tree, 0, 2, method="equitune", **GAP),
        *rows(tree, 20, 3, method="equitune", variant=RELAXED, **GAP),
        *rows(tree, -4, 3, method="equizero", **GAP),
        # Not the methods that the claim is about.
        *rows(tree, 0, 1, method="equizero", variant="branches=samples", **GAP),
        *rows(tree, 0, 1, method="pretrained", **GAP),
    ]
    verdicts = {k: cell.verdict for k, cell in cells(tree, found, "fairness-debias").items()}
    assert verdicts == {
        **{"Equi": "reproduced", "R-Equi": "not reproduced", "Equizero": "undecided"},
    }


def test_equizero_is_compared_with_the_model_and_with_equitune(tree: Any) -> None:
    found = [
        *rows(tree, 10, 5, metric="regard", method="pretrained"),
        *rows(tree, 60, 5, metric="regard", method="equizero"),
        *rows(tree, 58, 5, metric="regard", method="equitune"),
        *rows(tree, -30, 5, metric="regard", method="equizero", variant=RELAXED),
    ]
    judged = cells(tree, found, "fairness-regard")
    assert {name: cell.verdict for name, cell in judged.items()} == {
        "Equizero > pretrained": "reproduced",
        "R-Equizero > pretrained": "not reproduced",
        "Equizero > Equi": "undecided",
    }
    joined = judged["Equizero > pretrained"].found
    assert joined and joined.low is not None and joined.high is not None
    # Two intervals of five points, as if independent.
    assert joined.value == 50 and (joined.high - joined.low) / 2 == pytest.approx(5 * 2**0.5)


def test_equitune_only_debiases_where_few_sentences_become_positive(tree: Any) -> None:
    found = [
        *rows(tree, 30, 1, metric="positive", method="pretrained"),
        *rows(tree, 31, 1, metric="positive", method="equitune"),
        *rows(tree, 60, 1, metric="positive", method="equitune", variant=RELAXED),
    ]
    judged = cells(tree, found, "fairness-equitune")
    assert {name: cell.verdict for name, cell in judged.items()} == {
        "Equi - pretrained": "reproduced",
        "R-Equi - pretrained": "not reproduced",
    }
