"""Greedy policies: Q-values made equivariant by each method (Section C.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import equitune
from experiments.costs import rows_read
from experiments.dqn.network import build_network
from experiments.dqn.orbits import LearnedValues, by_features, by_values, last_hidden
from experiments.dqn.symmetry import Symmetry
from experiments.external.weight_files import listed, name_faults, under_prefix, wrong_shapes
from experiments.frame.errors import UserError
from experiments.frame.methods import Kind, Parts, find_method

if TYPE_CHECKING:
    from torch import Tensor as Weights

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    # The log-odds grow with the largest softmax, and do not saturate.
    "softmax": partial(equitune.losses.max_probability, log_odds=True),
    "raw": equitune.losses.max_score,
}


def make_values(
    network: nn.Module,
    symmetry: Symmetry,
    method: str,
    score: str | None,
    net: nn.Module | None = None,
) -> nn.Module:
    """Make a Q-network equivariant.

    Args:
        network: M, maps observations [B, ...] to Q-values [B, A]; `ensemble.join` joins
            several.
        symmetry: The group's actions.
        method: Name of the method.
        score: A key of `LOSSES`; None for a method that reads no loss.
        net: What the weights are from: the network lambda, or `orbits.SoftChoice`; or
            `ensemble.Joined` of several. M is then from `network.build_network` or `ensemble.join`.

    Returns:
        A module of the same kind.

    Raises:
        UserError: If there is no such method.
        ValueError: If the method needs a part that is not given.
    """
    entry = find_method(method)
    if entry.kind in (Kind.LEARNED_MEAN, Kind.SOFT_CHOICE):
        assert isinstance(network, nn.Sequential) and net is not None
        weigh = (by_features if entry.needs_net else by_values)(net.eval())
        return LearnedValues(network, symmetry, weigh).eval()
    features = None
    if entry.needs_net:
        assert isinstance(network, nn.Sequential)
        features = partial(last_hidden, network)
    loss = None if score is None else LOSSES[score]
    weighting = entry.weighting(Parts(symmetry.group, loss, net, features))
    return equitune.Equivariant(network, symmetry.observations, symmetry.values, weighting).eval()


def load_network(
    weights: dict[str, Weights], shape: Sequence[int], hidden: Sequence[int], actions: int
) -> nn.Sequential:
    """Build the Q-network with given weights.

    Raises:
        UserError: If the weights are those of another network; the line names the required ones.
    """
    # The random initial weights are replaced.
    with torch.random.fork_rng(devices=[]):
        network = build_network(shape, hidden, actions)
    needed = network.state_dict()
    weights = under_prefix(weights, needed)
    if faults := [*name_faults(weights, needed, ()), *wrong_shapes(weights, needed)]:
        sizes = " x ".join(str(size) for size in (math.prod(shape), *hidden, actions))
        raise UserError(f"the weights are of another network than {sizes}: {listed(faults)}")
    network.load_state_dict(weights)
    network.eval()
    return network


def greedy(values: nn.Module) -> Callable[[Any], Any]:
    """Return the policy that takes the action of the largest Q-value, on numpy arrays.

    It raises a UserError if a Q-value is not finite.
    """

    @torch.inference_mode()
    def policy(observations: Any) -> Any:
        return finite(values(torch.from_numpy(observations))).argmax(dim=-1).numpy()

    return policy


def finite(values: Float[Tensor, "batch actions"]) -> Float[Tensor, "batch actions"]:
    """Return Q-values after a check, as argmax would choose NaN.

    Raises:
        UserError: If one is not finite.
    """
    if values.numel() and not all(map(math.isfinite, values.aminmax())):  # NaN propagates
        raise UserError("the network gives Q-values that are not finite: its weights are too large")
    return values


@torch.no_grad()
def equivariance_error(
    values: nn.Module, symmetry: Symmetry, observations: Float[Tensor, "batch ..."]
) -> float:
    """Return the largest share, over g, of observations with greedy(g s) != g greedy(s).

    Observations fixed by an element other than the identity do not count: there two actions are
    equally good, and no deterministic policy is equivariant. NaN if no observation counts.
    """
    orbit = symmetry.observations.orbit(observations)
    same = (orbit == observations).flatten(2).all(dim=-1).sum(dim=0)
    observations = observations[same == 1]
    chosen: Int[Tensor, " batch"] = values(observations).argmax(dim=-1)
    shares = []
    for g in symmetry.group.elements:
        moved = values(symmetry.observations.act(g, observations)).argmax(dim=-1)
        expected = symmetry.values.forward_table[g][chosen]
        shares.append(float((moved != expected).double().mean()))
    return max(shares)


@torch.no_grad()
def passes(network: nn.Sequential, values: nn.Module, observation: Float[Tensor, "1 ..."]) -> int:
    """Return how often the Q-network runs for the Q-values of one observation, by counting.

    Args:
        network: The Q-network.
        values: Q-values that are made from it.
        observation: The observation, [1, ...].
    """
    # Not of the network as a whole: its last hidden layer may be read on the way.
    return rows_read([network[0]], lambda: values(observation))
