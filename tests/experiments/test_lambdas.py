"""The training of lambda that tasks share: it learns, it ends in one line, it can be stopped."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import equitune
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.options import LambdaNetConfig
from experiments.lambdas import fit_lambda
from experiments.training import LOOK_EVERY

#: A run that is never asked to stop.
RUN: Any = SimpleNamespace(folder=Path("run"), should_checkpoint=False)


def fitted(run: Any = RUN, goal: float = 2.0, **changes: Any) -> equitune.LambdaNet:
    """Teach lambda one number; rows are drawn, and tell nothing."""
    values = {"hidden": 4, "depth": 2, "dropout": 0.0, "positive": "softplus", "weight_decay": 0.0}
    values |= {"learning_rate": 0.05, "steps": 200, "batch_size": 3}
    features = torch.ones(5, 2)

    def loss(net: equitune.LambdaNet, rows: Tensor) -> Tensor:
        assert rows.shape == (3,) and rows.max() < 5
        return (net(features[rows]) - goal).square().mean()

    config = LambdaNetConfig(**values | changes)
    return fit_lambda(run, config, 2, 5, loss, seed=0, order=np.random.default_rng(0))


def test_it_learns() -> None:
    net = fitted()
    assert not net.training and net(torch.ones(1, 2)).item() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("goal", [float("nan"), float("inf")])
def test_a_training_that_diverges_says_so_in_one_line(goal: float) -> None:
    line = f"^lambda has diverged: after {LOOK_EVERY} steps .* method.lambda_net.learning_rate .*$"
    with pytest.raises(UserError, match=line):
        fitted(goal=goal)


def test_it_can_be_stopped() -> None:
    stopped: Any = SimpleNamespace(folder=Path("run"), should_checkpoint=True)
    with pytest.raises(Interrupted, match="stopped on request; run begins again"):
        fitted(stopped)
