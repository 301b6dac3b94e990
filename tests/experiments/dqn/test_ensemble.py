"""Joined networks are the networks, row by row, whatever is built on them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import equitune
from experiments.dqn.ensemble import Joined, join
from experiments.dqn.network import build_network
from experiments.dqn.options import Representation
from experiments.dqn.orbits import SoftChoice
from experiments.dqn.policy import LOSSES, make_values
from experiments.dqn.symmetry import build_symmetry

TURN = Representation(image="rot90", actions=[[1, 2, 3, 4]])


METHODS = ("pretrained", "equitune", "equizero", "lambda_equitune", "soft_equizero")


@pytest.mark.parametrize("method", METHODS)
def test_row_i_is_for_network_i_modulo_their_number(method: str) -> None:
    torch.manual_seed(0)
    symmetry = build_symmetry(TURN, (1, 9, 9), 5)
    networks = [build_network((1, 9, 9), [16, 8], 5).double() for _ in range(3)]
    nets: list[nn.Module] = [equitune.LambdaNet(8).double() for _ in networks]
    if method == "soft_equizero":
        nets = [SoftChoice(LOSSES["softmax"], 10.0**k) for k in (-2, 0, 1)]
    learned = method in METHODS[3:]
    pictures = torch.randn(4 * 3, 1, 9, 9, dtype=torch.float64)
    together = make_values(
        join(networks), symmetry, method, "softmax", Joined(nets) if learned else None
    )(pictures)
    assert together.shape == (12, 5)
    for k, (network, net) in enumerate(zip(networks, nets, strict=True)):
        alone = make_values(network, symmetry, method, "softmax", net if learned else None)
        torch.testing.assert_close(together[k::3], alone(pictures[k::3]))
    assert not torch.allclose(together[0::3], together[1::3])


def test_one_network_is_itself() -> None:
    network = build_network((4,), [8], 2)
    assert join([network]) is network
