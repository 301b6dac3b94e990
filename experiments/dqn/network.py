"""The Q-network, in plain PyTorch: what stable-baselines3's MlpPolicy trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn


def build_network(shape: Sequence[int], hidden: Sequence[int], actions: int) -> nn.Sequential:
    """Build the network that maps observations [B, *shape] to Q-values [B, A].

    Args:
        shape: Shape of one observation.
        hidden: Widths of the hidden layers, ReLU behind each.
        actions: Number of actions A.
    """
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], actions))


def weights_of(q_net: Any) -> dict[str, Tensor]:
    """Return the weights of stable-baselines3's Q-network under the names of `build_network`.

    Args:
        q_net: ``model.q_net``, a network without convolutions.
    """
    # There the flattening is a module of its own, so layers count from 0 and not from 1.
    return {
        _renumber(name): value.detach().clone().cpu()
        for name, value in q_net.q_net.state_dict().items()
    }


def _renumber(name: str) -> str:
    layer, _, kind = name.partition(".")
    return f"{int(layer) + 1}.{kind}"
