"""Synthetic rows of the comparisons of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.frame.methods import own_group
from report.artefacts.comparison.views import View, lines, view_numbers
from report.options import Options
from report.presets import fixed
from report.results import load_results

_ERROR = "equivariance_error"


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
    rows = tree.rows([float(seed) + 0.25 for seed in range(seeds)], metric=_ERROR, **common)
    for name, value in (("passes", passes), ("trained_parameters", 7.0)):
        rows += tree.rows([value] * seeds, metric=name, **common)
    for name, each, columns in (
        (metric, accuracy, {}),
        (metric, upright, {"transform": "none"}),
        ("over_equitune", gain, {}),
    ):
        if each is not None:
            values = [each + seed for seed in range(seeds)]
            rows += tree.estimates(values, 1.0, name, **(common | columns))
    return list(rows)
