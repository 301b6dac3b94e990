"""Views, heads and probing, on toys whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import equitune
from experiments.cnn.heads import LOSSES, Head, Probe, make_rule
from experiments.cnn.options import ProbeRecipe
from experiments.cnn.orbit_sources import correctness
from experiments.cnn.probe import Learner, Plan, build_probe, phases
from experiments.cnn.seeds import DROPOUT, ORDER
from experiments.frame.options import LambdaNetConfig
from experiments.frame.seeds import derive
from experiments.images.extraction import SQUARE, Orbits
from experiments.images.orbit_data import Stored, lookup
from experiments.images.symmetries import SYMMETRIES, make_action, members

NET = LambdaNetConfig(
    hidden=8, depth=2, dropout=0.5, positive="exp", learning_rate=0.05, weight_decay=0.0
)
RECIPE = ProbeRecipe(epochs=3, batch_size=4, learning_rate=0.05, momentum=0.9, validation=0.1)
METHODS = {
    "pretrained": Plan("pretrained", "trivial", "rot90", None, None, None, None, False),
    "equitune": Plan("equitune", "rot90", "rot90", None, None, None, None, False),
    "equizero": Plan("equizero", "rot90", "rot90", "entropy", "mean", None, None, False),
    "lambda_equitune": Plan("lambda_equitune", "rot90", "rot90", None, None, NET, None, False),
}
SHAPE = (4, 2, 2)


@pytest.mark.parametrize("group", SYMMETRIES)
def test_a_groups_members_are_those_elements_of_the_square(group: str) -> None:
    image = torch.arange(2 * 3 * 3.0).reshape(1, 2, 3, 3)
    expected = torch.stack([SQUARE.act(g, image) for g in members(group)])
    assert torch.equal(make_action(group).orbit(image), expected)


@pytest.mark.parametrize("views", ["rot90", "dihedral"])
@pytest.mark.parametrize("transform", ["none", "rot90"])
def test_a_turned_image_finds_its_orbit_among_the_stored_views(views: str, transform: str) -> None:
    image = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    stored = torch.stack([SQUARE.act(g, image) for g in members(views)])
    for group in ("trivial", "rot90", "mirror", "dihedral"):
        if not set(members(group)) <= set(members(views)):
            continue
        table = lookup(group, transform, views)
        for column, turn in enumerate(members(transform)):
            expected = make_action(group).orbit(SQUARE.act(turn, image))
            assert torch.equal(stored[table[:, column]], expected)


def orbit_of_noise(count: int = 40, classes: int = 3) -> Orbits:
    """Features whose class shows in one channel of the upright view alone."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    values = 0.3 * torch.randn(4, count, classes + 1, 2, 2, generator=generator)
    values[0, torch.arange(count), labels] += 3
    values[0, :, classes] += 3  # tells that a view is upright
    return Orbits(values, labels, "rot90", torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def learn(asked: Plan, features: Orbits, seed: int) -> tuple[Probe, list[float]]:
    probe = build_probe(asked, SHAPE, 3, seed)
    learner = Learner(probe, Stored(features, asked.group, asked.transform), RECIPE, seed)
    losses: list[float] = []
    for rule, parameters in phases(asked, probe):
        losses += learner.learn(rule, parameters, 1 + len(losses))
    return probe, losses


@pytest.mark.parametrize("method", METHODS)
def test_probing_learns_and_the_same_seed_gives_the_same_layers(method: str) -> None:
    features, asked = orbit_of_noise(), METHODS[method]
    before = torch.random.get_rng_state()
    (first, losses), (second, again) = (learn(asked, features, 5) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert losses == again and losses[-1] < losses[0]
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    other, _ = learn(asked, features, 6)
    assert not torch.equal(other.head.state_dict()["channels.weight"], first.head.channels.weight)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("batch", "momentum"), [(4, 0.9), (3, 0.0), (35, 0.9), (100, 0.9)])
def test_the_steps_are_those_of_the_optimiser(method: str, batch: int, momentum: float) -> None:
    """To the bit, although neither the optimiser nor single look-ups are used."""
    features, asked = orbit_of_noise(205), METHODS[method]
    if asked.net is not None:
        asked = asked._replace(net=replace(NET, weight_decay=0.01))
    recipe = replace(RECIPE, batch_size=batch, momentum=momentum)
    source = Stored(features, asked.group, asked.transform)
    probe, expected = (build_probe(asked, SHAPE, 3, seed=0) for _ in range(2))
    unused = torch.nn.Parameter(torch.ones(2))
    ((rule, parameters),) = phases(asked, probe, [unused])
    losses = list(Learner(probe, source, recipe, seed=0).learn(rule, parameters, 1))

    ((rule, parameters),) = phases(asked, expected)
    optimiser = torch.optim.SGD(parameters, lr=0.05, momentum=momentum, fused=True)
    for epoch, loss in enumerate(losses, start=1):
        generator = torch.Generator().manual_seed(derive(0, ORDER, epoch))
        order = torch.randperm(205, generator=generator)
        turns = torch.randint(4, (205,), generator=generator)
        total = torch.zeros(())
        torch.manual_seed(derive(0, DROPOUT, epoch))
        for rows, turned in zip(order.split(batch), turns.split(batch), strict=True):
            logits = expected(source.views(rows, turned))
            each = torch.nn.functional.cross_entropy(logits, features.labels[rows])
            optimiser.zero_grad()
            each.backward()
            optimiser.step()
            total += each.detach() * len(rows)
        assert loss == float(total) / 205
    for name, value in expected.state_dict().items():
        assert torch.equal(value, probe.state_dict()[name])
    assert torch.equal(unused, torch.ones(2))


def test_all_methods_of_a_seed_begin_with_the_same_head() -> None:
    heads = [build_probe(asked, SHAPE, 3, seed=2).head for asked in METHODS.values()]
    for head in heads[1:]:
        assert torch.equal(head.channels.weight, heads[0].channels.weight)


def test_lambda_finds_the_view_that_tells_the_class() -> None:
    features = orbit_of_noise(300)
    learned, _ = learn(METHODS["lambda_equitune"], features, 0)
    weights = learned.eval().rule.net(features.values.flatten(2))
    assert float((weights.argmax(dim=0) == 0).double().mean()) > 0.95
    assert float(correctness(learned, Stored(features, "rot90", "rot90")).double().mean()) > 0.95


def test_separate_training_leaves_the_head_as_equitune_learned_it() -> None:
    features = orbit_of_noise()
    even, _ = learn(METHODS["equitune"], features, 0)
    asked = METHODS["lambda_equitune"]._replace(separate=True)
    untrained = build_probe(asked, SHAPE, 3, seed=0).rule.state_dict()
    probe, losses = learn(asked, features, 0)
    assert len(losses) == 2 * RECIPE.epochs
    for name, value in even.head.state_dict().items():
        assert torch.equal(value, probe.head.state_dict()[name])
    assert any(not torch.equal(v, untrained[n]) for n, v in probe.rule.state_dict().items())


class Channels(torch.nn.Module):
    """The first three channels are the logits."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean(dim=(-1, -2))[..., :3]


def test_correctness_counts_every_turn() -> None:
    """The upright view decides: a trivial group is right for upright images only."""
    features = orbit_of_noise(30)
    one = Probe(Channels(), equitune.Identity(equitune.trivial()))
    correct = correctness(one, Stored(features, "trivial", "rot90"))
    assert correct.shape == (4, 30)
    assert bool(correct[0].all()) and float(correct[1:].double().mean()) < 0.6
    confident = Probe(Channels(), make_rule("equizero", equitune.cyclic(4), "max_probability"))
    every = Stored(features, "rot90", "rot90")
    assert bool(correctness(confident, every).all())
    doubtful = make_rule("equizero", equitune.cyclic(4), "reversed_max_probability")
    wrong = correctness(Probe(Channels(), doubtful), every)
    assert float(wrong.double().mean()) < 0.6
    assert torch.equal(wrong[0], wrong[1])


def test_the_reversed_loss_takes_the_least_confident_view() -> None:
    logits = torch.tensor([[[0.0, 1.0]], [[0.0, 5.0]], [[0.0, 0.1]]])
    assert int(LOSSES["max_probability"](logits).argmin()) == 1
    assert int(LOSSES["reversed_max_probability"](logits).argmin()) == 2
    assert int(LOSSES["entropy"](logits).argmin()) == 1


def test_the_head_is_one_map_of_positions_and_one_of_channels() -> None:
    head = Head((3, 2, 2), 5)
    assert sum(value.numel() for value in head.parameters()) == (4 + 1) + (3 * 5 + 5)
    features = torch.randn(2, 7, 3, 2, 2)
    weight, bias = head.positions.weight, head.positions.bias
    expected = head.channels((features.flatten(-2) * weight).sum(-1) + bias)
    torch.testing.assert_close(head(features), expected)
    assert head(features).shape == (2, 7, 5)
