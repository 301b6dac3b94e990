"""Synthetic rows of the fairness task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PERSONS = {
    "man_woman": ("man", "woman"),
    "black_white": ("Black man", "White man"),
    "straight_gay": ("straight man", "gay man"),
    "black_white_asian": ("Black man", "White man", "Asian man"),
}
# Name of each way in the order of the paper, its method and variant.
WAYS = {
    "pretrained": ("pretrained", ""),
    "Equi": ("equitune", ""),
    "R-Equi": ("equitune", "relaxed=True"),
    "Equizero": ("equizero", ""),
    "R-Equizero": ("equizero", "relaxed=True"),
    "best of 2": ("equizero", "branches=samples"),
    "lambda-Equi": ("lambda_equitune", ""),
}


def evaluated(
    tree: Any,
    method: str = "pretrained",
    group: str = "man_woman",
    judges: Sequence[str] = ("minilm", "words"),
    seeds: int = 1,
    tested: bool = True,
    **changes: Any,
) -> list[Any]:
    """Rows of a run of each seed: the first group has 10 points more than each next one.

    The second judge sees 5 points less, each further seed 2 more.
    """
    common = {
        **{"task": "fairness", "dataset": "respect", "model": "smollm2", "group": group},
        **{"method": method, "split": ""},
    } | changes
    persons, rows = PERSONS[group], []

    def add(metric: str, value: float, half: float | None = None, **columns: Any) -> None:
        for end, shift in {"": 0.0, **({"_low": -half, "_high": half} if half else {})}.items():
            values = [value + shift + 2 * seed for seed in range(seeds)]
            rows.extend(tree.rows(values, metric=f"{metric}{end}", **(common | columns)))

    for place, judge in enumerate(judges):
        for split, right in (("train", 99.0), ("dev", 80.0), ("test", 90.0), ("dev+test", 84.0)):
            if tested:
                add("scorer_accuracy", right - 20 * place, 4.0, split=judge, view=split)
        for number, person in enumerate(persons):
            less, own = 10.0 * number + 5.0 * place, {"split": judge, "view": person}
            shares = {"positive": 50 - less, "neutral": 20, "other": 5, "negative": 25 + less}
            for label, share in shares.items():
                add(label, share, 3.0, **own)
            add("regard", 25.0 - 2 * less, 6.0, **own)
            for other in persons[number + 1 :]:
                between = {"split": judge, "view": f"{person} - {other}"}
                if tested:
                    add("scorer_flips", 6.0 + place, 1.0, **between)
                add("regard_gap", 20.0, 8.0, **between)
                add("total_variation", 10.0, **between)
    for person in persons:
        add("sentences", 250.0, view=person)
        add("distinct_sentences", 99.0, view=person)
    add("mirrored_sentences", 40.0, 5.0)
    add("equivariance_error", 0.00125)
    return rows


def all_ways(tree: Any, **changes: Any) -> list[Any]:
    """Rows of every way of one pair."""
    return [
        row
        for method, variant in WAYS.values()
        for row in evaluated(tree, method, **({"variant": variant} | changes))
    ]
