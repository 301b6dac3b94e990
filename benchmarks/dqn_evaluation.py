"""CPU time of DQN evaluation: all methods, against stable-baselines3's own `evaluate_policy`.

    OMP_NUM_THREADS=1 python -m benchmarks.dqn_evaluation
    OMP_NUM_THREADS=1 python -m benchmarks.dqn_evaluation --datasets cartpole --networks 1

For each environment networks are trained by the recipe `demo` and kept six times on the way, as in
Figure 2. stable-baselines3 plays each in one gymnasium environment, as it is; we play 100 episodes
with pretrained, equitune and equizero, as a run does, all networks side by side. Times are CPU
milliseconds per episode (of one network and method), one thread. The episodes of different
methods differ in length, so the ratio is given per episode and per step. On the Gridworld a run has
the exact expected return besides; its time is that of one network and method.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from torch import nn

from experiments.dqn.ensemble import SideBySide
from experiments.dqn.environment import make_environment, make_problem
from experiments.dqn.exact import expected_return, tabulate
from experiments.dqn.fingerprint import recipe
from experiments.dqn.policy import greedy, load_network, make_values
from experiments.dqn.rollouts import play
from experiments.dqn.symmetry import Symmetry
from experiments.dqn.training import make_learner, train
from experiments.frame.conf import CONF
from experiments.frame.load import load
from experiments.frame.options import AnyConfig
from scripts._arguments import Parser

METHODS = ("pretrained", "equitune", "equizero")


class Cost(NamedTuple):
    """CPU milliseconds and steps per episode."""

    milliseconds: float
    steps: float


def configuration(dataset: str, networks: int) -> AnyConfig:
    """Compose the configuration of a data set, as the command line does."""
    every = 12000 // networks
    keep = [f"task.recipe.keep_from={every}", f"task.recipe.keep_every={every}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return load(compose("config", ["task=dqn", f"dataset={dataset}", *keep]))


def theirs(learner: DQN, config: AnyConfig, kept: Any, episodes: int) -> Cost:
    """Play every network with `evaluate_policy`."""
    watched: Any = Monitor(make_environment(config.dataset))
    steps, seconds = 0, 0.0
    for weights in kept.values():
        # The same names in the same order, but counted from another number.
        parameters = sorted(learner.q_net.named_parameters())
        with torch.no_grad():
            for (_, parameter), (_, value) in zip(parameters, sorted(weights.items()), strict=True):
                parameter.copy_(value)
        start = time.process_time()
        _, lengths = evaluate_policy(learner, watched, episodes, return_episode_rewards=True)
        seconds += time.process_time() - start
        assert isinstance(lengths, list)
        steps += sum(lengths)
    count = episodes * len(kept)
    return Cost(1e3 * seconds / count, steps / count)


def ours(config: AnyConfig, kept: Any, episodes: int) -> tuple[Cost, float | None]:
    """Play all networks with every method; the exact return's milliseconds, where there is one."""
    shape, actions, symmetry, simulator = make_problem(config)
    assert simulator is not None
    hidden = recipe(config).hidden or []
    networks = [load_network(weights, shape, hidden, actions) for weights in kept.values()]
    table = tabulate(simulator)
    lengths, seconds, exact = [], 0.0, 0.0
    for method in METHODS:
        start = time.process_time()
        values = partial(_values, symmetry, method)
        played = play(simulator, SideBySide(networks, (), values), episodes, 0)
        seconds += time.process_time() - start
        lengths += [each.lengths for each in played]
        if table is not None:
            for network in networks:
                start = time.process_time()
                chosen = greedy(make_values(network, symmetry, method, "softmax"))
                expected_return(chosen(table.observations), table, simulator.max_steps)
                exact += time.process_time() - start
    runs = len(METHODS) * len(networks)
    cost = Cost(1e3 * seconds / (episodes * runs), float(np.mean(lengths)))
    return cost, None if table is None else 1e3 * exact / runs


def _values(
    symmetry: Symmetry, method: str, network: nn.Sequential, net: nn.Module | None
) -> nn.Module:
    return make_values(network, symmetry, method, "softmax", net)


def measure(dataset: str, networks: int, episodes: int, their_episodes: int) -> str:
    """Return one line of the table."""
    config = configuration(dataset, networks)
    settings = recipe(config)
    learner = make_learner(make_environment(config.dataset), settings, seed=0)
    go_on: Callable[[int], bool] = lambda step: True  # noqa: E731
    kept = train(learner, settings, lambda values, step: None, go_on)
    they, (we, exact) = theirs(learner, config, kept, their_episodes), ours(config, kept, episodes)
    episode = they.milliseconds / we.milliseconds
    step = episode * we.steps / they.steps
    line = f"{dataset:10} {they.milliseconds:10.2f} {they.steps:6.0f} {we.milliseconds:8.3f} "
    line += f"{we.steps:6.0f} {episode:12.0f}x {step:8.0f}x"
    if exact is not None:
        ratio = they.milliseconds * episodes / exact
        line += f"   exact return: {exact:.2f} ms, {ratio:.0f}x cheaper than {episodes} of theirs"
    return line


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["cartpole", "acrobot", "gridworld"]
    parser.add_argument("--datasets", nargs="+", choices=names, default=names)
    parser.add_argument("--networks", type=int, default=6, help="side by side")
    parser.add_argument("--episodes", type=int, default=100, help="of each network and method")
    parser.add_argument("--theirs", type=int, default=10, help="episodes of each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = ("theirs ms", "steps", "ours ms", "steps", "per episode", "per step")
    print("{:10} {:>10} {:>6} {:>8} {:>6} {:>13} {:>9}".format("", *heads))
    for dataset in options.datasets:
        print(measure(dataset, options.networks, options.episodes, options.theirs), flush=True)


if __name__ == "__main__":
    main()
