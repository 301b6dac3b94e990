"""Synthetic rows of the fairness task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MEN = ("man", "woman")
PERSONS = {
    "man_woman": MEN,
    "black_white": ("Black man", "White man"),
    "straight_gay": ("straight man", "gay man"),
    "black_white_asian": ("Black man", "White man", "Asian man"),
}
# Method and variant of each way, in the order of the paper.
WAYS = (
    *(("pretrained", ""), ("equitune", ""), ("equitune", "relaxed=True")),
    *(("equizero", ""), ("equizero", "relaxed=True")),
    *(("equizero", "branches=samples"), ("lambda_equitune", "")),
)
NAMES = ("pretrained", "Equi", "R-Equi", "Equizero", "R-Equizero", "best of 2", "lambda-Equi")


def evaluated(
    tree: Any,
    method: str = "pretrained",
    group: str = "man_woman",
    judges: Sequence[str] = ("minilm", "words"),
    seeds: int = 1,
    persons: Sequence[str] = (),
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
    persons = persons or PERSONS[group]
    rows: list[Any] = []

    def add(metric: str, value: float, half: float | None = None, **columns: Any) -> None:
        for end, off in (("", 0.0), ("_low", half), ("_high", half)):
            if off is not None:
                shift = -off if end == "_low" else off
                values = [value + shift + 2 * seed for seed in range(seeds)]
                rows.extend(tree.rows(values, metric=f"{metric}{end}", **(common | columns)))

    pairs = [(a, b) for k, a in enumerate(persons) for b in persons[k + 1 :]]
    for place, judge in enumerate(judges):
        for split, right in (("train", 99.0), ("dev", 80.0), ("test", 90.0), ("dev+test", 84.0)):
            if tested:
                add("scorer_accuracy", right - 20 * place, 4.0, split=judge, view=split)
        for number, person in enumerate(persons):
            less = 10.0 * number + 5.0 * place
            shares = {
                "positive": 50.0 - less,
                "neutral": 20.0,
                "other": 5.0,
                "negative": 25.0 + less,
            }
            for label, share in shares.items():
                add(label, share, 3.0, split=judge, view=person)
            add("regard", 25.0 - 2 * less, 6.0, split=judge, view=person)
        for first, second in pairs:
            between = {"split": judge, "view": f"{first} - {second}"}
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
        for method, variant in WAYS
        for row in evaluated(tree, method, **({"variant": variant} | changes))
    ]
