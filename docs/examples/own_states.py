"""States: the Q-network of a stable-baselines3 agent that acts alike on both sides."""

import gymnasium
import torch
from stable_baselines3 import DQN

import equitune
from equitune import losses

agent = DQN("MlpPolicy", gymnasium.make("CartPole-v1"), seed=0)  # or yours, trained

mirror = equitune.cyclic(2)
states = equitune.Signs(mirror, torch.tensor([[1, 1, 1, 1], [-1, -1, -1, -1]]))
actions = equitune.PermuteAxis(mirror, torch.tensor([[0, 1], [1, 0]]))  # left and right
equizero = equitune.Select(losses.max_probability)
q_net = equitune.Equivariant(agent.q_net, states, actions, equizero)

state = torch.randn(5, 4)
torch.testing.assert_close(q_net(-state), q_net(state).flip(-1))

assert not torch.allclose(agent.q_net(-state), agent.q_net(state).flip(-1))
