"""CPU time of DQN evaluation: all methods side by side, against stable-baselines3's own.

    OMP_NUM_THREADS=1 python -m benchmarks.dqn_evaluation
    OMP_NUM_THREADS=1 python -m benchmarks.dqn_evaluation --datasets cartpole --episodes 1000

For each environment a network is trained by the recipe `demo`; stable-baselines3's
`evaluate_policy` plays it in one gymnasium environment, and we play it as it is, with equitune and
with equizero, 100 episodes each. Times are CPU milliseconds per episode and method, one thread.
The episodes of different methods differ in length, so both sides also give them per step.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from experiments.dqn.environment import make_environment, make_simulator, make_symmetry
from experiments.dqn.identity import recipe
from experiments.dqn.network import build_network, weights_of
from experiments.dqn.policy import greedy, make_values
from experiments.dqn.rollouts import play
from experiments.dqn.training import make_learner
from experiments.schema import RunConfig, load

METHODS = ("pretrained", "equitune", "equizero")


def configuration(dataset: str) -> RunConfig:
    """Compose the configuration of a data set, as the command line does."""
    conf = Path(__file__).parents[1] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        return load(compose("config", ["task=dqn", f"dataset={dataset}", "scale=demo"]))


def measure(dataset: str, episodes: int, theirs: int) -> tuple[float, ...]:
    """Return ms per episode and method, and steps per episode, of theirs and of ours."""
    config = configuration(dataset)
    env = make_environment(config.dataset)
    learner = make_learner(env, recipe(config), seed=0)
    steps = recipe(config).steps
    assert steps is not None
    learner.learn(steps)
    watched: Any = Monitor(make_environment(config.dataset))
    start = time.process_time()
    _, lengths = evaluate_policy(learner, watched, theirs, return_episode_rewards=True)
    sequential = 1e3 * (time.process_time() - start) / theirs
    network = build_network(*_shape(env, recipe(config).hidden or []))
    network.load_state_dict(weights_of(learner.q_net))
    simulator, symmetry = make_simulator(config.dataset), make_symmetry(config, env)
    assert simulator is not None and isinstance(lengths, list)
    count, start = 0, time.process_time()
    for method in METHODS:
        values = make_values(network, symmetry, method, "softmax")
        count += int(play(simulator, greedy(values), episodes, seed=0).lengths.sum())
    ours = 1e3 * (time.process_time() - start) / (episodes * len(METHODS))
    return sequential, sum(lengths) / theirs, ours, count / (episodes * len(METHODS))


def _shape(env: Any, hidden: list[int]) -> tuple[Any, list[int], int]:
    return env.observation_space.shape, hidden, int(env.action_space.n)


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["cartpole", "acrobot", "gridworld"]
    parser.add_argument("--datasets", nargs="+", choices=names, default=names)
    parser.add_argument("--episodes", type=int, default=100, help="of each of our methods")
    parser.add_argument("--theirs", type=int, default=30, help="episodes of evaluate_policy")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':10} {'theirs ms':>10} {'steps':>6} {'ours ms':>8} {'steps':>6} {'per step':>9}")
    for dataset in options.datasets:
        theirs, long, ours, short = measure(dataset, options.episodes, options.theirs)
        ratio = (theirs / long) / (ours / short)
        print(f"{dataset:10} {theirs:10.2f} {long:6.0f} {ours:8.3f} {short:6.0f} {ratio:8.0f}x")


if __name__ == "__main__":
    main()
