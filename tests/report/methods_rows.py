"""Synthetic rows of the comparisons of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.frame.methods import own_group
from report.artefacts.comparison.views import View, lines, view_numbers
from report.options import Options
from report.presets import fixed
from report.results import load_results


def wanted(tree: Any, view: View, scale: str = "paper") -> list[dict[str, str]]:
    """The labels of all lines that a preset makes."""
    options = Options((scale,))
    results = load_results(tree.path, (view.task,), (scale,))
    return [*lines(view, view_numbers(view, results, options), options)]


def evaluated(
    tree: Any,
    view: View,
    method: str,
    accuracy: float,
    gain: float | None = None,
    passes: float = 4,
    seeds: int = 1,
    options: Sequence[str] = (),
    upright: float | None = None,
    group: str = "rot90",
    **changes: Any,
) -> list[Any]:
    """Rows of one evaluation per seed; intervals are of one point to each side."""
    known = [f"{name}={value}" for name, value in fixed(view.preset).items() if name == "training"]
    moved = group if view.upright else "none"
    common = {
        **{"task": view.task, "method": method, "group": own_group(method, group)},
        **{"transform": moved, "variant": ", ".join([*known, *options])},
    } | changes
    metric = view.score.get(str(common.get("dataset")), view.score.get(""))
    told = {metric: accuracy, "passes": passes, "equivariance_error": 0.25, "trained_parameters": 7}
    rows = [row for name, value in told.items() for row in _seeds(tree, name, value, seeds, common)]
    rows += _interval(tree, str(metric), accuracy, seeds, common)
    if upright is not None:
        own = common | {"transform": "none"}
        rows += _seeds(tree, str(metric), upright, seeds, own)
        rows += _interval(tree, str(metric), upright, seeds, own)
    if gain is not None:
        rows += _seeds(tree, "over_equitune", gain, seeds, common)
        rows += _interval(tree, "over_equitune", gain, seeds, common)
    return rows


def _seeds(tree: Any, metric: str, value: float, seeds: int, common: Any) -> list[Any]:
    step = 1.0 if metric not in ("passes", "trained_parameters") else 0.0
    values = [value + step * seed for seed in range(seeds)]
    rows: list[Any] = tree.rows(values, metric=metric, **common)
    return rows


def _interval(tree: Any, metric: str, value: float, seeds: int, common: Any) -> list[Any]:
    low = _seeds(tree, f"{metric}_low", value - 1.0, seeds, common)
    return [*low, *_seeds(tree, f"{metric}_high", value + 1.0, seeds, common)]
