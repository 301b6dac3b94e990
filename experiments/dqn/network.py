"""The Q-network, in plain PyTorch: as in stable-baselines3's MlpPolicy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


def build_network(shape: Sequence[int], hidden: Sequence[int], actions: int) -> nn.Sequential:
    """Build the network that maps observations [B, *shape] to Q-values [B, A].

    Args:
        shape: Shape of one observation.
        hidden: Widths of the hidden layers, each followed by a ReLU.
        actions: Number of actions A.
    """
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], actions))


class Outputs(NamedTuple):
    """The network's outputs for a batch.

    Attributes:
        features: Last hidden layer, [B, F].
        values: Q-values, [B, A].
    """

    features: Float[Tensor, "batch features"]
    values: Float[Tensor, "batch actions"]


def with_features(network: nn.Sequential, observations: Float[Tensor, "batch ..."]) -> Outputs:
    """Return Q-values and, from the same pass, the last hidden layer.

    Args:
        network: From `build_network`; its last layer is linear on the features.
        observations: Observations, [B, ...].
    """
    features: Tensor = network[:-1](observations)
    return Outputs(features, network[-1](features))


def weights_of(q_net: Any) -> dict[str, Tensor]:
    """Return the weights of stable-baselines3's Q-network under the names of `build_network`.

    Args:
        q_net: ``model.q_net``, a network without convolutions.
    """
    return {
        name: value.detach().clone().cpu()
        for name, value in own_names(q_net.q_net.state_dict()).items()
    }


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a Q-network under the names of `build_network`.

    Args:
        weights: Tensors under these names; or those of stable-baselines3's policy (its target
            network is ignored); or those of the layers alone, counted from 0.
    """
    prefix = "q_net."
    while any(name.startswith(prefix) for name in weights):
        weights = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
    # There the flattening is a separate module, so layers count from 0 and not from 1.
    shift = 1 if "0.weight" in weights else 0
    parts = {name: name.partition(".") for name in weights}
    return {
        f"{int(layer) + shift}.{kind}" if layer.isdecimal() else name: weights[name]
        for name, (layer, _, kind) in parts.items()
    }
