"""The largest jump: a choice of views has one, a mean of views has none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import equitune
from experiments.images.continuity import largest_jump

#: A run that is never asked to stop.
RUN: Any = SimpleNamespace(folder=Path("run"), should_checkpoint=False)
ACTION = equitune.Rot90()
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(rule: equitune.Weighting) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.Tanh(), nn.Linear(20, 5))
    return equitune.Equivariant(layers, ACTION, equitune.Invariant(ACTION.group), rule)


RULES = {
    "equizero": (equitune.Select(equitune.losses.entropy), True),
    "equitune": (equitune.Uniform(), False),
    "soft_equizero": (equitune.SoftSelect(equitune.losses.entropy, 0.1), False),
}


@pytest.mark.parametrize("name", RULES)
def test_choices_jump_and_means_do_not(name: str) -> None:
    rule, jumps = RULES[name]
    found = [largest_jump(RUN, network(rule), IMAGES, ACTION, seed=0) for _ in range(2)]
    assert found[0] == found[1]
    assert (0.01 < found[0] <= 1) if jumps else (found[0] < 1e-9)


def test_a_known_jump() -> None:
    """A step between two sure classes is found where it is, with its whole height."""

    class Step(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            on = (images.mean(dim=(1, 2, 3)) > 0.3).to(images.dtype)
            return torch.stack([1 - on, on], dim=1) * 100

    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    assert largest_jump(RUN, Step(), images, ACTION, seed=0) == pytest.approx(1)
