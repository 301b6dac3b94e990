"""Ties: what `Select` does when two views have the same proxy loss."""

import torch
from torch import Tensor, nn

import equitune

torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
images = torch.rand(4, 1, 8, 8)


def no_opinion(outputs: Tensor) -> Tensor:
    """A proxy loss for which all views tie: outputs [G, B, C] to losses [G, B]."""
    return outputs.new_zeros(outputs.shape[:2])


turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
first = equitune.Equivariant(net, turns, unchanged, equitune.Select(no_opinion))
mean = equitune.Equivariant(net, turns, unchanged, equitune.Select(no_opinion, ties="average"))

assert equitune.equivariance_error(first, images, turns, unchanged) > 1e-3
assert equitune.equivariance_error(mean, images, turns, unchanged) < 1e-5
