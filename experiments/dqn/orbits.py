"""The views of observations through a frozen Q-network, and their mean by learned weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.dqn.network import with_features
from experiments.dqn.symmetry import Symmetry

#: Rows of a batch: their indices, or all of them.
Rows = Tensor | slice


class Orbits(NamedTuple):
    """The views of some observations s through a Q-network.

    Attributes:
        features: Last hidden layer at gs, [G, N, F].
        values: Q-values after g^-1, g^-1 Q(gs, .), [G, N, A].
    """

    features: Float[Tensor, "group states features"]
    values: Float[Tensor, "group states actions"]

    def take(self, rows: Rows) -> Orbits:
        """Return the views of some observations."""
        return Orbits(self.features[:, rows], self.values[:, rows])

    def mean(self, weigh: Weigh | None) -> Float[Tensor, "states actions"]:
        """Return Q_lambda(s, .) = sum_g w_g(s) g^-1 Q(gs, .), [N, A] (Eq. 4).

        Args:
            weigh: Gives lambda; None: uniform weights, equitune.
        """
        return equitune.average(self.values, None if weigh is None else weigh(self))


#: From the views of observations to lambda(gs), [G, N].
Weigh = Callable[[Orbits], Tensor]


def by_features(net: nn.Module) -> Weigh:
    """Return lambda of lambda-equitune: a network on features, [G, N, F] to [G, N]."""

    def weigh(views: Orbits) -> Tensor:
        weights: Tensor = net(views.features)
        return weights

    return weigh


def by_values(net: nn.Module) -> Weigh:
    """Return lambda of soft equizero: a `SoftChoice`, or several joined, [G, N, A] to [G, N]."""

    def weigh(views: Orbits) -> Tensor:
        weights: Tensor = net(views.values)
        return weights

    return weigh


class SoftChoice(nn.Module):
    """Weights exp(-loss / temperature), normalised over the group."""

    def __init__(self, loss: Callable[[Tensor], Tensor], temperature: float) -> None:
        """Keep the proxy loss, which ignores the order of actions, and its temperature."""
        super().__init__()
        self.loss, self.temperature = loss, temperature

    def forward(
        self, values: Float[Tensor, "group states actions"]
    ) -> Float[Tensor, "group states"]:
        """Return the weights of the views of states."""
        return equitune.soft_select_weights(self.loss(values), self.temperature)


def look(
    network: nn.Sequential, symmetry: Symmetry, observations: Float[Tensor, "states ..."]
) -> Orbits:
    """Run the views of observations through a network, once for features and Q-values.

    Args:
        network: From `network.build_network`.
        symmetry: The group's actions.
        observations: s, [N, ...].
    """
    views = symmetry.observations.orbit(observations)
    features, values = with_features(network, views.flatten(0, 1))
    shape = views.shape[:2]
    return Orbits(features.reshape(*shape, -1), symmetry.values.undo(values.reshape(*shape, -1)))


def last_hidden(network: nn.Sequential, observations: Float[Tensor, "batch ..."]) -> Tensor:
    """Return the features that lambda reads, the last hidden layer, [B, F]."""
    return with_features(network, observations)[0]


class LearnedValues(nn.Module):
    """Q-values with weights of the views, [B, ...] to [B, A].

    `equitune.Equivariant` with the rule `Learned` is the same function, but its features are
    computed from the inputs gx, so it would run the hidden layers twice.
    """

    def __init__(self, network: nn.Sequential, symmetry: Symmetry, weigh: Weigh) -> None:
        """Combine a Q-network, the group's actions and lambda."""
        super().__init__()
        self.network, self.weigh = network, weigh
        self._symmetry = symmetry

    def forward(self, observations: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch actions"]:
        """Return Q_lambda(s, .)."""
        return look(self.network, self._symmetry, observations).mean(self.weigh)


@torch.no_grad()
def spread(orbits: Orbits) -> float:
    """Return the standard deviation of Q over actions, averaged over all views and states."""
    return float(orbits.values.double().std(dim=-1, correction=0).mean())
