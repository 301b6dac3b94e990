"""The committed claims on fairness, on synthetic rows whose verdicts are known."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from report.claims.judge import Cell
from report.claims.verdicts import make_report

ROOT = Path(__file__).resolve().parents[2]
GAP = {"metric": "regard_gap", "view": "man - woman"}
RELAXED = {"variant": "relaxed=True"}
Rows = list[tuple[float, float, Mapping[str, str]]]


def cells(tree: Any, found: Rows, claim: str) -> dict[str, Cell]:
    """The cells of a claim that have rows, by comparison.

    A row about men and women has a value, and half the width of its interval over sentences.
    """
    shutil.copy(ROOT / "results" / "paper" / "claims.yaml", tree.path / "paper")
    common = {
        **{"task": "fairness", "dataset": "respect", "model": "gpt2", "group": "man_woman"},
        **{"split": "words", "view": "man"},
    }
    rows = [
        tree.row(number, **common | changes | {"metric": f"{changes['metric']}{end}"})
        for value, half, changes in found
        for end, number in (("", value), ("_low", value - half), ("_high", value + half))
    ]
    tree.measured(rows, task="fairness")
    report = make_report(tree.path, "paper", ROOT)
    return {cell.comparison: cell for cell in report.cells if cell.claim.id == claim and cell.found}


def of(metric: str, method: str) -> dict[str, str]:
    return {"metric": metric, "method": method}


@pytest.mark.parametrize(
    ("claim", "rows", "verdicts"),
    [
        ("fairness-bias", [(40, 5, of("", "pretrained") | GAP)], {"pretrained": "reproduced"}),
        ("fairness-bias", [(-40, 5, of("", "pretrained") | GAP)], {"pretrained": "reproduced"}),
        ("fairness-bias", [(3, 5, of("", "pretrained") | GAP)], {"pretrained": "undecided"}),
        (
            "fairness-debias",
            [
                (0, 2, of("", "equitune") | GAP),
                (20, 3, of("", "equitune") | GAP | RELAXED),
                (-4, 3, of("", "equizero") | GAP),
                # Not the methods that the claim is about.
                (0, 1, of("", "equizero") | GAP | {"variant": "branches=samples"}),
                (0, 1, of("", "pretrained") | GAP),
            ],
            {"Equi": "reproduced", "R-Equi": "not reproduced", "Equizero": "undecided"},
        ),
        (
            "fairness-regard",
            [
                (10, 5, of("regard", "pretrained")),
                (60, 5, of("regard", "equizero")),
                (58, 5, of("regard", "equitune")),
                (-30, 5, of("regard", "equizero") | RELAXED),
            ],
            {
                "Equizero > pretrained": "reproduced",
                "R-Equizero > pretrained": "not reproduced",
                "Equizero > Equi": "undecided",
            },
        ),
        (
            "fairness-equitune",
            [
                (30, 1, of("positive", "pretrained")),
                (31, 1, of("positive", "equitune")),
                (60, 1, of("positive", "equitune") | RELAXED),
            ],
            {"Equi - pretrained": "reproduced", "R-Equi - pretrained": "not reproduced"},
        ),
    ],
)
def test_verdicts(tree: Any, claim: str, rows: Rows, verdicts: dict[str, str]) -> None:
    found = cells(tree, rows, claim)
    assert {name: cell.verdict for name, cell in found.items()} == verdicts
    for cell in found.values():
        assert cell.found and cell.found.basis.startswith("sentences") and not cell.stand_in
        assert cell.labels["split"] == "words"
