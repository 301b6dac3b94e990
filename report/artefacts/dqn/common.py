"""What the tables and figures of deep Q-learning share: its names, and which rows count."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, METHODS, PAPERS, PRETRAINED
from report.options import Options
from report.results import Results, departing, option, own_groups, select, step_numbers

COLOURS = {name: METHODS[name].colour for name in PAPERS}
# The methods of the paper, from the worst to the best in its order.
PAPERS_METHODS = (PRETRAINED, EQUITUNE, EQUIZERO)
# Scale to the regimes of training that are wanted; rows of the first carry no label.
REGIMES = {"paper": ("reference", "modern"), "demo": ("demo",)}
# Seeds of the experiments at the paper's scale in these regimes.
SEEDS = 16

RETURNS = (
    "Return: on gridworld the expectation, computed exactly (expected_return); else the mean over "
    "episodes whose initial states all methods of a seed share. Mean (spread) over n seeds"
)
IDENTITY_NOTE = (
    "cartpole has two group elements and two actions: equitune and equizero (softmax) choose the "
    "same action in every state but for ties of floating-point numbers, so they cannot differ"
)
REGIME_NOTE = (
    "regime: how the networks were trained; reference: learning begins after 50000 steps, the "
    "default of stable-baselines3 when the paper was written; modern: after 100, today's"
)


class Dataset(NamedTuple):
    """One environment.

    Attributes:
        steps: The paper's budget of training steps.
        tolerance: Largest distance of two returns that is a tie.
        decimals: Of a printed return.
    """

    group: str
    steps: int
    metric: str
    tolerance: float
    decimals: int


# Group and steps are tested against conf/dataset.
DATASETS = {
    "gridworld": Dataset("rot90", 100_000, "expected_return", 1e-6, 4),
    "cartpole": Dataset("mirror", 100_000, "return", 0.5, 1),
    "acrobot": Dataset("mirror", 70_000, "return", 0.5, 1),
}


def result_rows(results: Results, options: Options, departure: str = "") -> pd.DataFrame:
    """Rows of the paper's environments and groups, one per method, regime, step and seed.

    Further columns are `regime` and `iteration`, the step as a number; a step that is no whole
    number is a ValueError. `departure` is the label of a row without its regime.
    """
    common = {"task": "dqn", "model": "DQN", "protocol": "paper", "split": "test", "view": ""}
    chosen = {"scale": options.scales, "dataset": tuple(DATASETS)}
    rows = select(results.ours, **common, **chosen)
    data = {name: rows["dataset"].map(_column(name)) for name in ("group", "metric")}
    group = own_groups(rows, data["group"])
    unnamed = rows["scale"].map({scale: names[0] for scale, names in REGIMES.items()})
    rows = rows.assign(regime=option(rows, "regime").fillna(unnamed))
    counts = (rows["metric"] == data["metric"]) & (rows["group"] == group)
    rows = rows[counts & (departing(rows, "regime") == departure)]
    return rows.assign(iteration=step_numbers(rows))


def _column(name: str) -> dict[str, str]:
    return {dataset: getattr(data, name) for dataset, data in DATASETS.items()}
