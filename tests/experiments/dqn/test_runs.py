"""DQN runs: training by stable-baselines3, evaluation, repetition, and what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stable_baselines3 import DQN

from benchmarks._bad_files import ENVIRONMENT
from experiments.dqn.environment import make_environment
from experiments.dqn.envs.catalogue import SIMULATORS
from experiments.dqn.fingerprint import kept_steps, recipe
from experiments.dqn.network import build_network, own_names, weights_of
from experiments.dqn.rollouts import Policies, play, play_gymnasium
from experiments.dqn.training import make_learner, train
from experiments.external.weight_files import load_weights
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.frame.variant import variant
from tests.experiments.dqn.conftest import Alone
from tests.experiments.program import Program

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("task=dqn", "task.recipe.steps=1500", "task.recipe.keep_from=500", "task.episodes=20")
SHORT += ("task.recipe.keep_every=500", "task.recipe.learning_starts=200")


def rows(results: Path, stage: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for path in sorted((results / "runs" / "dqn").glob(f"{stage}-*/metrics.csv")):
        with open(path, newline="") as stream:
            found += csv.DictReader(stream)
    return found


def test_recipes_follow_the_regime_and_the_users_word(configure: Configure) -> None:
    reference = recipe(configure("task=dqn", "scale=paper"))
    assert (reference.learning_starts, reference.steps) == (50000, 100000)
    assert kept_steps(reference) == [50000, 60000, 70000, 80000, 90000, 100000]
    acrobot = recipe(configure("task=dqn", "scale=paper", "dataset=acrobot"))
    assert kept_steps(acrobot) == [50000, 60000, 70000]
    modern = recipe(configure("task=dqn", "scale=paper", "task.regime=modern"))
    assert modern.learning_starts == 100
    tuned = recipe(configure("task=dqn", "scale=paper", "task.regime=tuned"))
    assert (tuned.steps, tuned.hidden, tuned.gamma) == (50000, [256, 256], 0.99)
    own = configure("task=dqn", "scale=paper", "task.regime=tuned", "task.recipe.gamma=0.5")
    assert recipe(own).gamma == 0.5
    assert variant(own) == "regime=tuned, recipe.gamma=0.5"


def test_the_network_is_that_of_stable_baselines3(configure: Configure) -> None:
    config = configure(*SHORT)
    env = make_environment(config.dataset)
    learner = make_learner(env, recipe(config), seed=3)
    network = build_network((4,), [64, 64], 2)
    network.load_state_dict(weights_of(learner.q_net))
    states = torch.randn(100, 4)
    assert torch.equal(network(states), learner.q_net(states))
    assert sum(p.numel() for p in network.parameters()) == 4610


def test_training_is_stable_baselines3s_own(configure: Configure) -> None:
    """Keeping networks on the way changes nothing, and the last one is the end of the training."""
    config = configure(*SHORT)
    settings, env = recipe(config), make_environment(config.dataset)
    alone = make_learner(env, settings, seed=0)
    alone.learn(1500)
    logged: list[int] = []
    ours = make_learner(make_environment(config.dataset), settings, seed=0)
    kept = train(ours, settings, lambda values, step: logged.append(step), lambda step: True)
    assert list(kept) == [500, 1000, 1500] and logged
    expected = weights_of(alone.q_net)
    assert all(torch.equal(kept[1500][name], value) for name, value in expected.items())
    assert any(not torch.equal(kept[500][name], value) for name, value in expected.items())


def test_training_stops_when_asked(configure: Configure) -> None:
    config = configure(*SHORT)
    settings = recipe(config)
    learner = make_learner(make_environment(config.dataset), settings, seed=0)
    train(learner, settings, lambda values, step: None, lambda step: step < 1000)
    assert learner.num_timesteps == 1000


def test_a_run_and_its_repetition_have_the_same_rows(
    run_py: RunPy, configure: Configure, tmp_path: Path
) -> None:
    methods = ("pretrained", "equitune", "equizero")
    sweep = ("hydra.mode=MULTIRUN", *SHORT, f"method={','.join(methods)}")
    assert run_py(*sweep).returncode == 0
    for method in methods:
        execute(configure(*SHORT, f"method={method}", f"results={tmp_path}/again"))
    first, second = rows(tmp_path / "results", "evaluate"), rows(tmp_path / "again", "evaluate")
    assert first == second
    assert rows(tmp_path / "results", "pretrain") == rows(tmp_path / "again", "pretrain")
    returns = {
        (row["method"], row["step"]): float(row["value"])
        for row in first
        if row["metric"] == "return"
    }
    assert len(returns) == 9
    for step in ("500", "1000", "1500"):
        assert returns["equitune", step] == returns["equizero", step]  # two elements, two actions
    assert {row["value"] for row in first if row["metric"] == "equivariance_error"} == {"0.0"}
    (folder,) = (tmp_path / "results" / "runs" / "dqn").glob("pretrain-*")
    facts = json.loads((folder / "record.json").read_text())["facts"]
    assert (facts["parameters"], facts["parameters_with_target"]) == (4610, 9220)


def test_an_apparent_symmetry_is_refused_before_training(run_py: RunPy, tmp_path: Path) -> None:
    result = run_py(*SHORT, "dataset=mountain_car")
    assert result.returncode == 1
    assert "group=mirror is no symmetry of MountainCar-v0" in result.stderr.splitlines()[-1]
    assert not rows(tmp_path / "results", "pretrain")


BAD = {
    ("dataset.environment=CartPole-v9",): "CartPole-v9",
    ("dataset.environment=Pendulum-v1",): r"Discrete.*wrap it",
    ("dataset.simulator=nowhere:f",): "module:function",
    ("+dataset.arguments.sutton_barto_reward=true",): "takes no arguments",
}


@pytest.mark.parametrize("overrides", BAD)
def test_environments_that_do_not_fit_are_one_line(
    configure: Configure, overrides: tuple[str, ...]
) -> None:
    from experiments.dqn.environment import make_simulator

    config = configure("task=dqn", *overrides)
    with pytest.raises(UserError, match=BAD[overrides]):
        make_environment(config.dataset)
        make_simulator(config.dataset)


def test_episodes_are_common_to_all_policies() -> None:
    """What chance does at a step does not depend on what the policy did before."""
    simulator = SIMULATORS["equitune/Gridworld-v0"]()

    def stay(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64)

    def walk(observations: Any) -> Any:
        return np.ones(len(observations), np.int64)

    def stay_or_walk(observations: Any) -> Any:
        return np.arange(len(observations)) % 2

    class Both(Policies):
        def __len__(self) -> int:
            return 2

        def together(self, which: Any) -> Any:
            return stay_or_walk if len(which) == 2 else (stay, walk)[which[0]]

    (alone,) = play(simulator, Alone(stay), 50, seed=4)
    first, walked = play(simulator, Both(), 50, seed=4)
    np.testing.assert_array_equal(first.returns, alone.returns)
    np.testing.assert_array_equal(first.lengths, alone.lengths)
    np.testing.assert_array_equal(first.observations, alone.observations)
    assert (walked.returns != first.returns).any()
    (other,) = play(simulator, Alone(stay), 50, seed=5)
    assert (other.returns != first.returns).any()
    assert first.lengths.max() == 100 and first.lengths.min() < 100


def test_episodes_do_not_start_where_those_of_training_did(configure: Configure) -> None:
    """gymnasium draws the starts of training from the seed itself."""
    env = make_environment(configure("task=dqn").dataset)
    starts = np.stack([env.reset(seed=3 if first else None)[0] for first in (True, False, False)])

    def right(observations: Any) -> Any:
        return np.ones(len(observations), np.int64)

    (episodes,) = play(SIMULATORS["CartPole-v1"](), Alone(right), 100, seed=3)
    assert not np.isclose(episodes.observations[:, None], starts).all(axis=-1).any()


def test_what_the_data_set_is_given_labels_the_rows(configure: Configure) -> None:
    labels = {
        ("dataset=gridworld", "+dataset.arguments.prey_probability=0"): (
            "dataset.arguments.prey_probability=0"
        ),
        ("dataset.steps=60000",): "dataset.steps=60000",
        ("task.regimes.demo.gamma=0.5",): "regimes.demo.gamma=0.5",
        ("dataset.representations.mirror.signs=[1,1,1,1]",): (
            "dataset.representations.mirror.signs=[1, 1, 1, 1]"
        ),
        ("dataset=gridworld",): "",
        ("dataset=acrobot",): "",
        ("dataset=pendulum",): "",
    }
    assert {given: variant(configure("task=dqn", *given)) for given in labels} == labels


def test_the_last_network_is_the_end_of_training_also_where_steps_come_in_blocks(
    configure: Configure,
) -> None:
    config = configure(*SHORT, "task.recipe.train_freq=400")
    settings = recipe(config)
    learner = make_learner(make_environment(config.dataset), settings, seed=0)
    kept = train(learner, settings, lambda values, step: None, lambda step: True)
    assert list(kept) == [500, 1000, 1500] and learner.num_timesteps == 1600
    last = weights_of(learner.q_net)
    assert all(torch.equal(kept[1500][name], value) for name, value in last.items())


def test_an_environment_without_a_simulator_is_trusted_and_that_is_said(
    run_py: RunPy, configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv', "
        "max_episode_steps=50)\n"
    )
    mine = (*SHORT, "dataset.environment=mine:Mine-v0", "method=equitune")
    result = run_py(*mine, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "group=mirror is taken on trust" in result.stderr
    (folder,) = (tmp_path / "results" / "runs" / "dqn").glob("evaluate-*")
    assert json.loads((folder / "record.json").read_text())["facts"]["symmetry_checked"] is False
    endless = (tmp_path / "mine.py").read_text().replace(", max_episode_steps=50", "")
    (tmp_path / "endless.py").write_text(endless.replace("Mine-v0", "Endless-v0"))
    monkeypatch.syspath_prepend(tmp_path)
    other = ("dataset.environment=endless:Endless-v0", f"results={tmp_path}/other")
    with pytest.raises(UserError, match="Endless-v0 has no time limit"):
        execute(configure(*mine, *other))
    started = [path.name for path in (tmp_path / "other" / "runs" / "dqn").iterdir()]
    assert len(started) == 1 and started[0].startswith("evaluate-")  # nothing was trained before


def test_networks_of_stable_baselines_are_read_under_all_their_names(
    configure: Configure, tmp_path: Path
) -> None:
    """Its own archive, and what people save of it; of nothing in them code is run."""
    settings = recipe(configure(*SHORT))
    env = make_environment(configure(*SHORT).dataset)
    learner = make_learner(env, settings, seed=3)
    expected = weights_of(learner.q_net)
    learner.save(tmp_path / "whole.zip")
    torch.save(learner.policy.state_dict(), tmp_path / "policy.pth")
    torch.save(learner.q_net.state_dict(), tmp_path / "q_net.pt")
    torch.save({"model_state_dict": learner.q_net.q_net.state_dict()}, tmp_path / "layers.ckpt")
    save_file(expected, tmp_path / "own.safetensors")
    for name in ("whole.zip", "policy.pth", "q_net.pt", "layers.ckpt", "own.safetensors"):
        found = own_names(load_weights(tmp_path / name))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    config = configure(*SHORT, f"model.checkpoint={tmp_path}/whole.zip", "method=equizero")
    assert execute(config).rows()
    mark = tmp_path / "mark"
    with (
        zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive,
        archive.open("policy.pth", "w") as p,
    ):
        torch.save({"q_net.q_net.0.weight": Program(mark)}, p)
    bad = configure(*SHORT, f"model.checkpoint={tmp_path}/bad.zip", "method=equizero")
    with pytest.raises(UserError, match=r"bad.zip: not a complete file of tensors alone \(it asks"):
        execute(bad)
    assert not mark.exists()
    options = {"net_arch": settings.hidden, "activation_fn": torch.nn.Tanh}
    DQN("MlpPolicy", env, policy_kwargs=options, device="cpu").save(tmp_path / "tanh.zip")
    with pytest.raises(UserError, match=r"tanh.zip: its network has .*Tanh.* ours has ReLU"):
        load_weights(tmp_path / "tanh.zip")
    other = configure(*SHORT, f"model.checkpoint={tmp_path}/q_net.pt", "task.recipe.hidden=[8]")
    with pytest.raises(UserError, match=r"of another network than 4 x 8 x 2: it has no 5.weight"):
        execute(other)


FINE = {
    "observations": "Box(-1.0, 1.0, (2,), np.float32)",
    "actions": "Discrete(2)",
    "reset": "np.zeros(2, np.float32), {}",
    "unchecked": "False",
    "last": "",
}
STEP = "np.zeros(2, np.float32), 1.0, False, False, {}"
NAN = "np.full(2, np.nan if self.steps > 90 else 0, np.float32), 1.0, False, False, {}"
WRONG = {
    "start": (
        {"actions": "Discrete(2, start=1)"},
        r"has actions Discrete\(2, start=1\); .* counts them from",
    ),
    "old reset": ({"reset": "np.zeros(2, np.float32)"}, "fails at its first step .* reset returns"),
    "old step": (
        {"step": "np.zeros(2, np.float32), 1.0, False, {}", "unchecked": "True"},
        "fails at its first step .* truncated, info",
    ),
    "shape": (
        {"reset": "np.zeros(3, np.float32), {}", "unchecked": "True"},
        r"gives observations of shape \(3,\), and says that they are Box",
    ),
    "observation": ({"step": NAN}, "gives an observation that is not finite"),
    "reward": (
        {"step": STEP.replace("1.0", "np.nan if self.steps > 90 else 0.0")},
        "gives a reward that is not finite",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_environment_that_does_not_do_what_it_must_is_one_line(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    changes, line = WRONG[case]
    module = f"mine_{case.replace(' ', '_')}"
    text = ENVIRONMENT
    for name, value in {**FINE, "step": STEP, **changes, "name": module}.items():
        text = text.replace(f"{{{name}}}", value)
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = configure(*SHORT, f"dataset.environment={module}:{module}-v0", "method=pretrained")
    with pytest.raises(UserError, match=line) as refused:
        execute(config)
    assert "\n" not in str(refused.value)


def test_without_a_simulator_gymnasium_plays(configure: Configure) -> None:
    config = configure("task=dqn")

    def right(observations: Any) -> Any:
        return np.ones(len(observations), np.int64)

    episodes = play_gymnasium(lambda: make_environment(config.dataset), right, 20, seed=0)
    assert (episodes.returns == episodes.lengths).all()
    assert episodes.lengths.min() >= 8 and episodes.lengths.max() <= 11
    (copied,) = play(SIMULATORS["CartPole-v1"](), Alone(right), 200, seed=0)
    assert abs(copied.returns.mean() - episodes.returns.mean()) < 0.5
