"""Q-values under each method, on networks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments.dqn.network import build_network
from experiments.dqn.options import Representation
from experiments.dqn.policy import equivariance_error, greedy, load_network, make_values
from experiments.dqn.symmetry import Symmetry, build_symmetry
from experiments.dqn.transitions import numpy_values
from experiments.frame.errors import UserError

MIRROR = Representation(signs=[-1] * 4, actions=[[0, 1]])
TURN = Representation(image="rot90", actions=[[1, 2, 3, 4]])


def cartpole() -> Symmetry:
    return build_symmetry(MIRROR, (4,), 2)


@pytest.mark.parametrize("seed", range(5))
def test_with_two_elements_and_two_actions_equitune_and_equizero_act_alike(seed: int) -> None:
    """The sign of d(s) - d(gs) is that of the larger of the two, which softmax selects."""
    torch.manual_seed(seed)
    network, symmetry = build_network((4,), [16], 2).double(), cartpole()
    states = torch.randn(2000, 4, dtype=torch.float64)
    with torch.no_grad():
        tune = make_values(network, symmetry, "equitune", None)(states).argmax(dim=-1)
        zero = make_values(network, symmetry, "equizero", "softmax")(states).argmax(dim=-1)
    assert torch.equal(tune, zero)
    assert 0 < tune.double().mean() < 1


def test_raw_scores_may_choose_another_view_than_softmax() -> None:
    class Planted(nn.Module):
        """Large values where the first entry is positive, sure ones where it is not."""

        def forward(self, states: Tensor) -> Tensor:
            large = torch.tensor([100.0, 100.1]).expand(len(states), 2)
            sure = torch.tensor([0.0, 5.0]).expand(len(states), 2)
            return torch.where(states[:, :1] > 0, large, sure)

    states = torch.ones(1, 4)
    symmetry = cartpole()
    raw = make_values(Planted(), symmetry, "equizero", "raw")(states)
    soft = make_values(Planted(), symmetry, "equizero", "softmax")(states)
    assert raw.tolist() == [[100.0, pytest.approx(100.1)]]
    assert soft.tolist() == [[5.0, 0.0]]  # the other view, its actions swapped back


def test_selection_does_not_saturate() -> None:
    """Of two views that are both certain in float32, the surer one is taken."""

    class Sure(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            gap = torch.where(states[:, 0] > 0, 60.0, 120.0)
            return torch.stack((torch.zeros_like(gap), gap), dim=-1)

    values = make_values(Sure(), cartpole(), "equizero", "softmax")(torch.ones(1, 4))
    assert values.tolist() == [[120.0, 0.0]]


@pytest.mark.parametrize("method", ["equitune", "equizero"])
def test_the_methods_are_equivariant_and_the_network_is_not(method: str) -> None:
    torch.manual_seed(0)
    symmetry = build_symmetry(TURN, (1, 9, 9), 5)
    network = build_network((1, 9, 9), [16], 5).double()
    pictures = torch.rand(200, 1, 9, 9, dtype=torch.float64)
    values = make_values(network, symmetry, method, "softmax")
    assert equivariance_error(values, symmetry, pictures) == 0.0
    assert equivariance_error(network, symmetry, pictures) > 0.1


def test_pretrained_is_the_bare_network_bit_for_bit() -> None:
    network, states = build_network((4,), [16], 2), torch.randn(50, 4)
    values = make_values(network, cartpole(), "pretrained", None)
    assert torch.equal(values(states), network(states))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_q_values_that_are_not_finite_are_not_played(value: float) -> None:
    """NaN would be the largest, and infinity the best action everywhere."""

    def values(states: Tensor) -> Tensor:
        return torch.where(states[:, :1] > 0, torch.tensor([value, 1.0]), torch.tensor([0.0, 1.0]))

    fine, bad = torch.zeros(3, 4).numpy(), torch.ones(1, 4).numpy()
    for policy in (greedy(values), numpy_values(values)):  # type: ignore[arg-type]
        assert len(policy(fine)) == 3
        with pytest.raises(UserError, match="gives Q-values that are not finite"):
            policy(np.concatenate([fine, bad]))
    assert greedy(values)(fine).tolist() == [1, 1, 1]  # type: ignore[arg-type]


def test_weights_behind_a_prefix_beside_a_loss_s_are_the_network_s() -> None:
    state = build_network((4,), [8], 2).state_dict()
    given = {f"net.{name}": value for name, value in state.items()} | {"loss.scale": torch.ones(1)}
    found = load_network(given, (4,), [8], 2).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
