"""lambda-equitune: learned weights on Q-networks whose right view is known, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import equitune
from experiments.dqn.envs.cartpole import CartPole
from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.network import build_network, with_features
from experiments.dqn.objectives import Advantage, Objective, Source, TemporalDifference, collect
from experiments.dqn.options import Representation, WeightingData
from experiments.dqn.orbits import Orbits, SoftChoice, by_features, by_values, look
from experiments.dqn.policy import LOSSES, equivariance_error, greedy, make_values, passes
from experiments.dqn.rollouts import play
from experiments.dqn.symmetry import Symmetry, build_symmetry
from experiments.dqn.train_lambda import held_out_gain, train_lambda, train_temperature
from experiments.dqn.transitions import action_returns, numpy_values, visit
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig, LambdaNetConfig
from experiments.frame.runner import execute
from experiments.frame.variant import variant
from tests.experiments.dqn.conftest import Alone
from tests.experiments.test_lambdas import RUN

Configure = Callable[..., AnyConfig]
MIRROR = Representation(signs=[-1] * 4, actions=[[0, 1]])
TURN = Representation(image="rot90", actions=[[1, 2, 3, 4]])
DATA = WeightingData(episodes=60, states=200, epsilon=0.1, horizon=30)
RECIPE = LambdaNetConfig(
    hidden=16,
    depth=2,
    dropout=0.0,
    positive="softplus",
    learning_rate=1e-2,
    weight_decay=0.0,
    steps=150,
    batch_size=64,
)


def cartpole() -> Symmetry:
    return build_symmetry(MIRROR, (4,), 2)


def half_right() -> nn.Sequential:
    """A Q-network for CartPole that is right where the cart is right of the middle (x > 0).

    It pushes towards where the pole falls there, and away from it, more loudly, elsewhere; of s and
    its mirror image one is right, and their mean is wrong. The last hidden layer tells which: its
    last two entries are x and -x, if positive.
    """
    network = build_network((4,), [4, 6], 2)
    first, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    fall, side, wall = torch.tensor([0.0, 0.0, 1.0, 0.3]), torch.tensor([50.0, 0, 0, 0]), 1e3
    with torch.no_grad():
        for layer in (first, second, last):
            layer.weight.zero_()
            layer.bias.zero_()
        # Hidden: fall, -fall, side, -side, if positive.
        first.weight.copy_(torch.stack((fall, -fall, side, -side)))
        for unit, (signal, closed) in enumerate(((0, 3), (1, 3), (0, 2), (1, 2))):
            second.weight[unit, signal], second.weight[unit, closed] = 1.0, -wall
        second.weight[4, 2] = second.weight[5, 3] = 1.0
        # The second action minus the first: fall where x > 0, -1.5 fall where x < 0.
        gap = torch.tensor([1.0, -1.0, -1.5, 1.5, 0.0, 0.0])
        last.weight.copy_(torch.stack((-gap / 2, gap / 2)))
    return network.eval()


def toy(
    seed: int = 0, name: str = "advantage", source: Source | None = None
) -> tuple[Source, Objective, Objective]:
    source = source or Source(CartPole(), cartpole(), half_right(), 0.99)
    halves = collect(source, name, DATA, np.random.default_rng(seed))
    return source, halves.training, halves.held_out


def constant(width: int) -> equitune.LambdaNet:
    net = equitune.LambdaNet(width).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    return net


@pytest.mark.parametrize("positive", ["softplus", "exp"])
def test_weights_are_positive(positive: Any) -> None:
    _, training, held_out = toy()
    recipe = LambdaNetConfig(**{**vars(RECIPE), "positive": positive, "steps": 20})
    weights = train_lambda(RUN, training, recipe, seed=0)(held_out.orbits.features)
    assert weights.shape == (2, len(held_out.episodes)) and bool((weights > 0).all())


def test_a_constant_lambda_is_equitune() -> None:
    torch.manual_seed(0)
    network, symmetry = build_network((1, 9, 9), [16, 8], 5), build_symmetry(TURN, (1, 9, 9), 5)
    pictures = torch.rand(50, 1, 9, 9)
    learned = make_values(network, symmetry, "lambda_equitune", None, constant(8))
    uniform = make_values(network, symmetry, "equitune", None)
    torch.testing.assert_close(learned(pictures), uniform(pictures))
    views = look(network, symmetry, pictures)
    assert views.features.shape == (4, 50, 8) and views.values.shape == (4, 50, 5)
    assert torch.equal(views.mean(None), uniform(pictures))


def test_one_pass_gives_features_and_values() -> None:
    network, states = build_network((4,), [16, 8], 2), torch.randn(20, 4)
    features, values = with_features(network, states)
    assert torch.equal(values, network(states)) and features.shape == (20, 8)
    assert bool((features >= 0).all())
    torch.testing.assert_close(network[-1](features), values)


def test_learned_values_are_those_of_the_librarys_rule() -> None:
    torch.manual_seed(1)
    network, symmetry, states = build_network((4,), [16, 8], 2), cartpole(), torch.randn(30, 4)
    net = equitune.LambdaNet(8)
    rule = equitune.Learned(net, features=lambda gx: with_features(network, gx).features)
    expected = equitune.Equivariant(network, symmetry.observations, symmetry.values, rule)
    learned = make_values(network, symmetry, "lambda_equitune", None, net)
    torch.testing.assert_close(learned(states), expected(states))


def test_learned_values_are_equivariant() -> None:
    torch.manual_seed(0)
    symmetry = build_symmetry(TURN, (1, 9, 9), 5)
    network = build_network((1, 9, 9), [16], 5).double()
    values = make_values(network, symmetry, "lambda_equitune", None, equitune.LambdaNet(16))
    pictures = torch.rand(200, 1, 9, 9, dtype=torch.float64)
    error = equitune.equivariance_error(values, pictures, symmetry.observations, symmetry.values)
    assert error < 1e-6  # lambda is in float32
    assert equivariance_error(values, symmetry, pictures) == 0.0


def test_lambda_learns_which_view_is_right() -> None:
    source, training, held_out = toy()
    net = train_lambda(RUN, training, RECIPE, seed=0)
    gain = held_out_gain(held_out, by_features(net), np.random.default_rng(0))
    assert gain.gain_low > 0.2 and gain.learned > 0 > gain.uniform
    right = held_out.orbits.features[..., 4] > 0
    assert bool((right.sum(dim=0) == 1).all())
    assert (
        float((net(held_out.orbits.features).argmax(dim=0) == right.int().argmax(0)).float().mean())
        > 0.9
    )
    learned = make_values(source.network, source.symmetry, "lambda_equitune", None, net)
    returns = [
        play(source.simulator, Alone(greedy(values)), 50, seed=7)[0].returns.mean()
        for values in (learned, source.uniform())
    ]
    assert returns[0] > 100 and returns[1] < 12


@pytest.mark.parametrize("name", ["advantage", "td"])
def test_the_same_seed_gives_the_same_tensors_and_the_global_generators_stay(name: str) -> None:
    source, _, _ = toy()
    before = torch.get_rng_state(), np.random.get_state()[1]
    nets = [train_lambda(RUN, toy(seed, name, source)[1], RECIPE, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    first, second, other = (net.state_dict() for net in nets)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("score", ["softmax", "raw"])
def test_a_soft_choice_is_equizero_when_cold_and_equitune_when_hot(score: str) -> None:
    torch.manual_seed(0)
    symmetry, pictures = build_symmetry(TURN, (1, 9, 9), 5), torch.rand(100, 1, 9, 9)
    network = build_network((1, 9, 9), [16, 8], 5)
    for temperature, limit in ((1e-30, "equizero"), (1e30, "equitune")):
        soft = SoftChoice(LOSSES[score], temperature)
        values = make_values(network, symmetry, "soft_equizero", score, soft)
        assert torch.equal(values(pictures), make_values(network, symmetry, limit, score)(pictures))


def test_a_soft_choice_is_that_of_the_librarys_rule_and_is_equivariant() -> None:
    torch.manual_seed(0)
    symmetry = build_symmetry(TURN, (1, 9, 9), 5)
    pictures = torch.rand(100, 1, 9, 9, dtype=torch.float64)
    network, loss = build_network((1, 9, 9), [16, 8], 5).double(), LOSSES["softmax"]
    rule = equitune.SoftSelect(loss, 0.1)
    expected = equitune.Equivariant(network, symmetry.observations, symmetry.values, rule)
    values = make_values(network, symmetry, "soft_equizero", "softmax", SoftChoice(loss, 0.1))
    torch.testing.assert_close(values(pictures), expected(pictures))
    error = equitune.equivariance_error(values, pictures, symmetry.observations, symmetry.values)
    assert error < 1e-12


def test_the_temperature_is_the_best_for_the_objective() -> None:
    """Of a view that is sure and right, and a louder one between two wrong actions, one helps."""
    torch.manual_seed(0)
    right, wrong = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, 2.99])
    first = torch.rand(300) < 0.5
    views = torch.where(torch.stack((first, ~first))[..., None], right, wrong)
    orbits = Orbits(torch.zeros(2, 300, 1), views + 0.1 * torch.randn(2, 300, 3))
    advantages = torch.tensor([1.0, -0.5, -0.5]).expand(300, 3)
    objective = Advantage(orbits, np.arange(300), advantages, 0.5)
    found = train_temperature(objective, "softmax")

    def of(temperature: float) -> float:
        weigh = by_values(SoftChoice(LOSSES["softmax"], temperature))
        return float(objective.per_state(weigh).mean())

    assert (
        found < 1 and of(found) >= max(map(of, (found / 1.1, found * 1.1, 1e-4, 1.0, 1e3))) - 1e-6
    )
    soft = by_values(SoftChoice(LOSSES["softmax"], found))
    gain = held_out_gain(objective, soft, np.random.default_rng(0))
    assert gain.gain_low > 0.5 and gain.uniform < 0 < gain.learned
    flipped = dataclasses.replace(objective, advantages=-advantages)
    assert train_temperature(flipped, "softmax") > 100


METHODS = {"pretrained": 1, "equitune": 4, "equizero": 4, "lambda_equitune": 4, "soft_equizero": 4}


@pytest.mark.parametrize("method", METHODS)
def test_passes_are_those_of_the_network(method: str) -> None:
    symmetry, network = build_symmetry(TURN, (1, 9, 9), 5), build_network((1, 9, 9), [16, 8], 5)
    seen: list[int] = []
    network[-1].register_forward_hook(lambda layer, given, found: seen.append(len(found)))
    net: nn.Module | None = None
    if method in ("lambda_equitune", "soft_equizero"):
        soft = SoftChoice(LOSSES["softmax"], 1.0)
        net = soft if method == "soft_equizero" else equitune.LambdaNet(8)
    values = make_values(network, symmetry, method, "softmax", net)
    found = passes(network, values, torch.rand(1, 1, 9, 9))
    assert found == sum(seen) == METHODS[method]
    values(torch.rand(3, 1, 9, 9))  # it no longer counts
    assert sum(seen) == 4 * found


def test_the_halves_have_no_episode_in_common() -> None:
    _, training, held_out = toy()
    assert not set(training.episodes) & set(held_out.episodes)
    assert len(training.episodes) == len(held_out.episodes) == DATA.states


def test_advantages_are_those_of_the_simulator() -> None:
    source, training, _ = toy()
    assert isinstance(training, Advantage)
    torch.testing.assert_close(
        training.advantages.sum(dim=1), torch.zeros(DATA.states), atol=1e-5, rtol=0
    )
    assert float(training.advantages.std(correction=0)) == pytest.approx(1, abs=1e-4)
    # One state, followed by hand.
    simulator, values = source.simulator, numpy_values(source.uniform())
    states = simulator.sample(200, np.random.default_rng(1)) * 0.2
    found = action_returns(simulator, values, states, 4, 0.9, np.random.default_rng(2))
    for state, action in ((0, 0), (7, 1), (30, 1)):
        here, chosen, expected = states[[state]], action, 0.0
        for step in range(4):
            after = simulator.step(here, np.array([chosen]), np.zeros(1, int))
            expected += 0.9**step
            if after.terminated[0]:
                break
            here = after.states
            chosen = int(values(simulator.observe(here))[0].argmax())
        else:
            expected += 0.9**4 * float(values(simulator.observe(here)).max())
        assert found[state, action] == pytest.approx(expected)


def test_the_greedy_gain_does_not_count_how_sure_the_softmax_is() -> None:
    _, training, held_out = toy()
    louder = dataclasses.replace(
        held_out, orbits=Orbits(held_out.orbits.features, 3 * held_out.orbits.values)
    )
    for name, equal in (("objective", False), ("greedy", True)):
        quiet, loud = (half.judges()[name].per_state(None) for half in (held_out, louder))
        assert torch.equal(quiet, loud) == equal
    best = training.advantages.amax(dim=1)  # type: ignore[attr-defined]
    assert bool((training.judges()["greedy"].per_state(None) <= best).all())


def test_the_loss_of_a_temporal_difference_by_hand() -> None:
    here = Orbits(torch.zeros(2, 2, 1), torch.tensor([[[1.0, 2.0]] * 2, [[3.0, 6.0]] * 2]))
    there = Orbits(torch.zeros(2, 2, 1), torch.tensor([[[0.0, 4.0]] * 2, [[0.0, 2.0]] * 2]))
    objective = TemporalDifference(
        here,
        np.arange(2),
        there,
        torch.tensor([0, 1]),
        torch.tensor([1.0, 1.0]),
        torch.tensor([False, True]),
        0.5,
    )
    # 2 - (1 + 0.5 * 3) = -0.5, inside the quadratic part; 4 - 1 = 3, beyond it.
    assert objective.per_state(None).tolist() == [0.125, 2.5]
    assert objective.per_state(by_features(constant(1)), torch.tensor([1])).tolist() == [2.5]


def test_visits_stop_with_the_episode_and_are_partly_random() -> None:
    class Corridor(CartPole):
        max_steps = 5

    simulator: Simulator = Corridor()
    values = numpy_values(half_right())
    visits = visit(simulator, values, 200, 0.4, np.random.default_rng(0))
    assert len(visits.states) == 1000 and not visits.terminated.any()
    chosen = values(simulator.observe(visits.states)).argmax(axis=1)
    assert (visits.actions != chosen).mean() == pytest.approx(0.2, abs=0.05)
    later = visits.episodes == 3
    np.testing.assert_array_equal(visits.states[later][1:], visits.following[later][:-1])


def test_only_learned_weights_have_an_objective(configure: Configure) -> None:
    config = configure("task=dqn", "method=equitune", "task.weighting=td")
    assert config.task.weighting is None and config.task.weighting_data is None
    assert variant(config) == ""
    config = configure("task=dqn", "method=lambda_equitune")
    assert config.task.weighting == "advantage" and variant(config) == ""
    config = configure("task=dqn", "method=lambda_equitune", "task.weighting=td")
    assert config.task.weighting_data.horizon is None and variant(config) == "weighting=td"
    config = configure("task=dqn", "method=soft_equizero")
    assert config.task.weighting == "advantage" and variant(config) == ""
    config = configure("task=dqn", "method=soft_equizero", "method.temperature=2")
    assert config.task.weighting is None and variant(config) == "temperature=2.0"


BAD = {
    ("stage=lambda", "method=equizero"): "belongs to method=.*soft.*, not to method=equizero",
    ("stage=lambda", "method=soft_equizero", "method.temperature=1"): "method.temperature is given",
    ("method=soft_equizero", "method.temperature=0"): "must be above 0",
    ("method=soft_equizero", "group=trivial"): "one view to weigh in group=trivial",
    ("method=augmented_equitune", "dataset.symmetry=foo"): "dataset.symmetry=foo is not known",
    ("method=soft_equizero", "task.score=null"): "needs task.score",
    ("method=distance",): "a state and its mirror image are equally usual",
    ("method=lambda_equitune", "group=trivial"): "one view to weigh in group=trivial",
    ("method=lambda_equitune", "task.weighting=dt"): "advantage, td",
    ("method=lambda_equitune", "task.weighting=null"): "needs task.weighting",
    ("method=lambda_equitune", "task.weighting_data=null"): "needs task.weighting_data",
    ("method=lambda_equitune", "task.weighting_data.episodes=1"): "at least 2",
    ("method=lambda_equitune", "task.weighting_data.horizon=null"): "weighting_data.horizon",
}


@pytest.mark.parametrize("overrides", BAD)
def test_bad_options_are_one_line(configure: Configure, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=BAD[overrides]):
        configure("task=dqn", *overrides)


SHORT = (
    "task=dqn",
    "method=lambda_equitune",
    "task.recipe.steps=600",
    "task.recipe.keep_from=300",
    "task.recipe.keep_every=300",
    "task.recipe.learning_starts=100",
    "task.episodes=10",
    "task.weighting_data.episodes=20",
    "task.weighting_data.states=50",
    "method.lambda_net.steps=20",
)


SOFT = (*(word for word in SHORT if "lambda" not in word), "method=soft_equizero")


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_no_simulator_is_refused_before_training(configure: Configure, tmp_path: Path) -> None:
    for given in (SHORT, SOFT):
        with pytest.raises(UserError, match="needs a simulator"):
            execute(configure(*given, "dataset.environment=CartPole-v0"))
    assert not list(tmp_path.glob("results/runs/dqn/pretrain-*"))


def test_a_run_has_the_temperature_of_every_kept_network_or_the_given_one(
    configure: Configure,
) -> None:
    fitted = execute(configure(*SOFT))
    rows = {(row["metric"], row["step"]): float(row["value"]) for row in fitted.rows()}
    for step in ("300", "600"):
        assert 1e-4 <= rows["temperature", step] <= 1e3
        assert rows["passes", step] == 2 and rows["trained_parameters", step] == 1
        assert ("greedy_gain", step) in rows
    given = execute(configure(*SOFT, "method.temperature=0.5"))
    rows = {(row["metric"], row["step"]): float(row["value"]) for row in given.rows()}
    assert rows["trained_parameters", "600"] == 0 and ("temperature", "600") not in rows
    assert all(row["variant"].endswith("temperature=0.5") for row in given.rows())
    assert len(list(given.folder.parent.glob("lambda-*"))) == 1


@pytest.mark.parametrize("objective", ["advantage", "td"])
def test_a_run_has_the_gain_and_the_return_of_every_kept_network(
    configure: Configure, objective: str
) -> None:
    finished = execute(configure(*SHORT, f"task.weighting={objective}"))
    rows = {(row["metric"], row["step"]): row for row in finished.rows()}
    for step in ("300", "600"):
        assert float(rows["return", step]["value"]) >= 1
        assert float(rows["equivariance_error", step]["value"]) < 0.01  # but for rounding
        learned, uniform, gain, low, high = (
            float(rows[f"objective_{name}", step]["value"])
            for name in ("learned", "uniform", "gain", "gain_low", "gain_high")
        )
        sign = 1 if objective == "advantage" else -1
        assert gain == pytest.approx(sign * (learned - uniform), abs=1e-6)
        assert low <= gain <= high
    (folder,) = finished.folder.parent.glob("lambda-*")
    with open(folder / "metrics.csv", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == (20 if objective == "advantage" else 10)
    assert ("greedy_gain", "300") in rows or objective == "td"
    assert {row["split"] for row in written} == {"validation"}
    assert {row["variant"] for row in written} == {""}
