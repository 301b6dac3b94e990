"""Training on mirrored transitions: what a sample holds, which runs it makes, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from experiments.dqn.environment import make_environment, make_problem
from experiments.dqn.fingerprint import augmenting, recipe
from experiments.dqn.network import weights_of
from experiments.dqn.options import Representation
from experiments.dqn.symmetry import build_symmetry
from experiments.dqn.task import TASK
from experiments.dqn.training import make_learner, train
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.frame.stages import name_run

Configure = Callable[..., AnyConfig]
SHORT = (
    *("task=dqn", "task.recipe.steps=600", "task.recipe.keep_from=600", "task.episodes=10"),
    *("task.recipe.keep_every=600", "task.recipe.learning_starts=100"),
)


@pytest.mark.parametrize("dataset", ["cartpole", "acrobot", "gridworld"])
def test_a_sample_holds_every_drawn_transition_in_all_transforms(
    configure: Configure, dataset: str
) -> None:
    config = configure(*SHORT, f"dataset={dataset}", "method=augmented")
    assert config.group.name == "trivial"
    symmetry = make_problem(config, augmenting(config)).symmetry
    order = symmetry.group.order
    learner = make_learner(make_environment(config.dataset), recipe(config), 0, symmetry)
    learner.learn(200)
    buffer = learner.replay_buffer
    assert buffer is not None
    found = buffer.sample(16)
    assert len(found.observations) == len(found.actions) == len(found.rewards) == 16 * order
    states, actions, following = (
        part.unflatten(0, (order, 16))
        for part in (found.observations, found.actions, found.next_observations)
    )
    drawn = {
        (tuple(s.flatten().tolist()), int(a[0]), tuple(t.flatten().tolist()))
        for s, a, t in zip(
            torch.from_numpy(buffer.observations[:200, 0]).float(),
            buffer.actions[:200, 0],
            torch.from_numpy(buffer.next_observations[:200, 0]).float(),
            strict=True,
        )
    }
    for row in range(16):
        own = [part[0, row].flatten().tolist() for part in (states, following)]
        assert (tuple(own[0]), int(actions[0, row]), tuple(own[1])) in drawn
        for g in range(order):
            act = symmetry.observations.act
            assert torch.equal(states[g, row], act(g, states[0, row][None])[0])
            assert torch.equal(following[g, row], act(g, following[0, row][None])[0])
            one_hot = torch.eye(symmetry.values.forward_table.shape[1])[actions[0, row]]
            assert int(symmetry.values.act(g, one_hot).argmax()) == int(actions[g, row])
    rewards = found.rewards.unflatten(0, (order, 16))
    assert torch.equal(rewards, rewards[:1].expand_as(rewards))


def count(seen: list[int]) -> Callable[..., None]:
    return lambda net, given, out: seen.append(len(out))


def test_the_network_sees_as_many_rows_as_views(configure: Configure) -> None:
    config = configure(*SHORT, "method=augmented")
    counts = {}
    for order, representation in ((1, None), (2, config.dataset.representations["mirror"])):
        symmetry = build_symmetry(representation, (4,), 2)
        learner = make_learner(make_environment(config.dataset), recipe(config), 0, symmetry)
        seen: list[int] = []
        learner.learn(100)
        learner.q_net.q_net.register_forward_hook(count(seen))
        learner.train(gradient_steps=3, batch_size=32)
        counts[order] = sum(seen)
    assert counts == {1: 3 * 32, 2: 2 * 3 * 32}


def test_with_one_element_it_is_stable_baselines3s_own_training(configure: Configure) -> None:
    config = configure(*SHORT)
    networks = []
    for symmetry in (None, build_symmetry(None, (4,), 2)):
        learner = make_learner(make_environment(config.dataset), recipe(config), 0, symmetry)
        train(learner, recipe(config), lambda values, step: None, lambda step: True)
        networks.append(weights_of(learner.q_net))
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())


def test_both_methods_share_a_network_that_others_do_not(configure: Configure) -> None:
    names = {
        words: name_run(TASK, TASK.stages["pretrain"], configure(*SHORT, *words.split())).folder
        for words in (
            *("method=pretrained", "method=equitune", "method=augmented"),
            *("method=augmented_equitune", "method=pretrained dataset=gridworld"),
            *("method=augmented dataset=gridworld", "method=augmented_equitune dataset=gridworld"),
            "method=augmented_equitune dataset=gridworld group=dihedral",
            "method=augmented dataset=gridworld group=dihedral dataset.symmetry=dihedral",
        )
    }
    first, second, third, fourth, *grid = names.values()
    assert first == second != third == fourth and "augmented" in third
    assert grid[1] == grid[2] and grid[3] == grid[4] and len(set(grid)) == 3


def test_a_run_has_its_rows(configure: Configure) -> None:
    for method, passes in (("augmented", 1), ("augmented_equitune", 2)):
        finished = execute(configure(*SHORT, f"method={method}"))
        rows = {row["metric"]: row for row in finished.rows()}
        assert float(rows["passes"]["value"]) == passes
        assert float(rows["trained_parameters"]["value"]) == 4610
        assert ("equivariance_error" in rows) == (passes == 2)
        assert rows["return"]["method"] == method
    (folder,) = finished.folder.parent.glob("pretrain-*")
    assert "augmented=mirror" in (folder / "metrics.csv").read_text()


BAD = {
    ("method=augmented", f"model.checkpoint={__file__}"): "takes no model.checkpoint",
    ("method=augmented", "dataset=gridworld", "group=dihedral"): "by dataset.symmetry=rot90, not",
    ("method=augmented", "dataset.symmetry=rot90"): "not by group=mirror",
    ("method=augmented_equitune", "stage=lambda"): "not to method=augmented_equitune",
    ("method=prior_lambda",): "no state is upright",
    ("method=canonicalizer",): "no state is upright",
}


@pytest.mark.parametrize("overrides", BAD)
def test_what_makes_no_sense_is_one_line(configure: Configure, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=BAD[overrides]):
        configure("task=dqn", *overrides)


def test_a_false_symmetry_is_refused_before_training(configure: Configure) -> None:
    false = Representation(signs=[1, -1, 1, -1], actions=[[0, 1]])
    config = configure(*SHORT, "method=augmented")
    config.dataset.representations["mirror"] = false
    with pytest.raises(UserError, match="group=mirror is no symmetry of CartPole-v1"):
        execute(config)
