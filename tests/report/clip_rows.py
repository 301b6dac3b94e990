"""Synthetic rows of the CLIP task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DASH = "\N{EN DASH}"
OURS, DRAWN = "SmallCLIP", "symbols"
MODELS = ("RN50", "RN101", "ViT-B-32", "ViT-B-16")
ZERO, LAMBDA = "equizero", "lambda_equitune"
METHODS = ("pretrained", "equitune", ZERO, LAMBDA)
GROUPS = ("rot90", "rot180", "mirror", "dihedral")
TRAINED = "training=image_encoder"
COMMON = {"task": "clip", "dataset": "cifar100", "model": "RN50"}
# Method to accuracy on upright and on transformed images, and what it is over equitune.
HEIGHTS = {
    "pretrained": (50.0, 35.0, -4.0),
    "equitune": (49.0, 42.0, 0.0),
    ZERO: (49.0, 47.0, 4.0),
    LAMBDA: (49.0, 45.0, 6.0),
    "soft_choice": (49.0, 46.0, 5.0),
}
# What the classes gain over equitune.
GAINS = (0.0, 3.0, -2.0, 3.0, 8.0, 1.0, 2.0, -5.0, 0.5)
SHARES = (40.0, 20.0, 25.0, 15.0)
STEPS = (0, 1000, 2000, 3000, 4000)


def estimate(tree: Any, metric: str, base: float, seeds: int = 1, **columns: Any) -> Any:
    """A metric with the ends of its interval, one point to each side; seeds are two apart."""
    return tree.estimates([base + 2 * seed for seed in range(seeds)], 1.0, metric, **columns)


def evaluated(
    tree: Any,
    method: str,
    transform: str,
    seeds: int = 1,
    gains: Sequence[float] = GAINS,
    **changes: Any,
) -> list[Any]:
    """Rows of one zero-shot run per seed; a half turn is five points better than others."""
    group = "trivial" if method == "pretrained" else transform
    common = COMMON | {"method": method, "group": group} | changes
    turned = {"transform": transform} | common
    upright, accuracy, over = HEIGHTS[method]
    accuracy += 5.0 * (transform == "rot180")
    rows = [
        *estimate(tree, "top1_accuracy", upright, seeds, **{"transform": "none"} | common),
        *estimate(tree, "top1_accuracy", accuracy, seeds, **turned),
        *estimate(tree, "top1_accuracy", 99.0, seeds, **{"view": 1} | turned),
        *estimate(tree, "top5_accuracy", 60.0, seeds, **turned),
        *tree.rows([12.5] * seeds, metric="calibration_error", **turned),
        *tree.rows([0.00025] * seeds, metric="equivariance_error", **turned),
    ]
    if method != "equitune":
        rows += estimate(tree, "over_equitune", over, seeds, **turned)
        for view, gain in enumerate(gains):
            values = [gain + 2 * seed for seed in range(seeds)]
            rows += tree.rows(values, metric="class_over_equitune", **{"view": view} | turned)
    if method == LAMBDA:
        rows += estimate(tree, "lambda_highest_upright", 70.0, seeds, **turned)
        for view, share in enumerate(SHARES):
            rows += estimate(tree, "lambda_share", share, seeds, **{"view": view} | turned)
            values = [SHARES[-1 - view] + seed for seed in range(seeds)]
            rows += tree.rows(values, metric="lambda_share_shown", **{"view": view} | turned)
    return rows


def everything(
    tree: Any,
    methods: Sequence[str] = METHODS,
    groups: Sequence[str] = ("rot90", "rot180"),
    **changes: Any,
) -> list[Any]:
    """Rows of several methods and groups."""
    return [
        row
        for group in groups
        for each in methods
        for row in evaluated(tree, each, group, **changes)
    ]


def tuned(
    tree: Any,
    methods: Sequence[str] = METHODS[1:],
    seeds: int = 1,
    steps: Sequence[int] = STEPS,
    **changes: Any,
) -> list[Any]:
    """Rows of fine-tuned models: seeds one point apart, two points more at each step."""
    rows: list[Any] = []
    for method in methods:
        common = COMMON | {"method": method, "group": "rot90", "variant": TRAINED} | changes
        turned = {"transform": "rot90", "metric": "top1_accuracy"} | common
        values = [HEIGHTS[method][1] + seed for seed in range(seeds)]
        for place, step in enumerate(steps):
            rows += tree.rows([value + 2 * place for value in values], step=step, **turned)
        rows += tree.rows([value + 5.0 for value in values], **turned)
        rows += tree.rows([99.0] * seeds, view=1, **turned)
        chosen = [steps[-1 - seed % 2] for seed in range(seeds)]
        rows += tree.rows(chosen, **{"transform": "none"} | common | {"metric": "selected_step"})
    return rows


def timed(tree: Any, machine: str, model: str) -> list[Any]:
    """Rows of one timing: each contender's numbers, those of equitune first."""
    ways = [(method, "") for method in METHODS[1:]] + [(LAMBDA, "second encoder")]
    rows: list[Any] = []
    for (method, variant), ratio in zip(ways, (1.0, 1.01, 1.02, 2.0), strict=True):
        columns = COMMON | {"model": model, "method": method, "variant": variant, "view": machine}
        numbers = {"inference_seconds": 10 * ratio, "peak_memory_mib": 1000.0, "images": 32.0}
        ends = {
            f"{name}{end}": ratio + d
            for name in ("relative_seconds", "relative_memory")
            for end, d in (("", 0), ("_low", -0.005), ("_high", 0.005))
        }
        for metric, value in (numbers | ends).items():
            rows += tree.rows([value], metric=metric, group="rot90", **columns)
    return rows
