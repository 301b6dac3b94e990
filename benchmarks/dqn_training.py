"""CPU time of DQN training: as the suite runs it, against stable-baselines3 called directly.

    OMP_NUM_THREADS=1 python -m benchmarks.dqn_training
    OMP_NUM_THREADS=1 python -m benchmarks.dqn_training --datasets cartpole --repeats 5

Both sides make the same DQN with the same seed; ours keeps networks on the way, hands the
library's log on and looks at signals. They alternate, and the weights at the end must be equal.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from hydra import compose, initialize_config_dir

from experiments.dqn.environment import make_environment
from experiments.dqn.fingerprint import recipe
from experiments.dqn.network import weights_of
from experiments.dqn.training import make_learner, train
from experiments.frame.conf import CONF
from experiments.frame.load import load
from experiments.frame.options import AnyConfig
from scripts._arguments import Parser


def configuration(dataset: str, steps: int) -> AnyConfig:
    """Compose the configuration of the regime `modern`, cut short."""
    overrides = ["task=dqn", f"dataset={dataset}", "task.regime=modern"]
    overrides += [f"task.recipe.steps={steps}", f"task.recipe.keep_from={steps // 2}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return load(compose("config", [*overrides, f"task.recipe.keep_every={steps // 10}"]))


def once(config: AnyConfig, direct: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """Train; return CPU seconds and the last network."""
    settings = recipe(config)
    assert settings.steps is not None
    learner = make_learner(make_environment(config.dataset), settings, seed=0)
    start = time.process_time()
    if direct:
        learner.learn(settings.steps)
    else:
        train(learner, settings, lambda values, step: None, lambda step: True)
    return time.process_time() - start, weights_of(learner.q_net)


def measure(dataset: str, steps: int, repeats: int) -> str:
    """Return one line of the table.

    Raises:
        RuntimeError: If the two sides trained different networks.
    """
    config = configuration(dataset, steps)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repeats):
        networks = []
        for direct, times in seconds.items():
            spent, weights = once(config, direct)
            times.append(spent)
            networks.append(weights)
        if not all(torch.equal(value, networks[1][name]) for name, value in networks[0].items()):
            raise RuntimeError("the two sides trained different networks")
    theirs, ours = (1e6 * statistics.median(times) / steps for times in seconds.values())
    return f"{dataset:10} {theirs:12.0f} {ours:10.0f} {ours / theirs:8.3f}"


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["cartpole", "acrobot", "gridworld"]
    parser.add_argument("--datasets", nargs="+", choices=names, default=names)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("CPU microseconds per step, medians")
    print(f"{'':10} {'direct':>12} {'ours':>10} {'ratio':>8}")
    for dataset in options.datasets:
        print(measure(dataset, options.steps, options.repeats), flush=True)


if __name__ == "__main__":
    main()
