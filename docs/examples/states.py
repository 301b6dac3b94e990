"""States: Q-values of CartPole under its mirror image."""

import torch
from torch import nn

import equitune
from equitune import losses

torch.manual_seed(0)
q_net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)).eval()

mirror = equitune.cyclic(2)
# The state (position, speed, angle, angular speed) changes sign; left and right change places.
states_in = equitune.Signs(mirror, torch.tensor([[1, 1, 1, 1], [-1, -1, -1, -1]]))
actions_out = equitune.PermuteAxis(mirror, torch.tensor([[0, 1], [1, 0]]))

policy = equitune.Equivariant(
    q_net, states_in, actions_out, equitune.Select(losses.max_probability)
)
states = torch.randn(100, 4)
action = policy(states).argmax(dim=-1)
mirrored = policy(-states).argmax(dim=-1)
assert torch.equal(mirrored, 1 - action)

assert not torch.equal(q_net(-states).argmax(dim=-1), 1 - q_net(states).argmax(dim=-1))
