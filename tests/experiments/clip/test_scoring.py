"""Scores against plain loops over the views, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.clip.scoring import LOSSES, Elementwise, Scorer, learning_loss
from experiments.images.symmetries import make_action

GROUPS = ("rot90", "rot180", "mirror", "dihedral")
SPACES = ("features", "logits", "probabilities")
WIDTH, CLASSES, SCALE = 6, 5, 7.0


def embeddings(group: str, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    order = make_action(group).group.order
    return torch.randn(order, 11, width, dtype=torch.float64, generator=generator)


def classifier() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    found = torch.randn(WIDTH, CLASSES, dtype=torch.float64, generator=generator)
    return functional.normalize(found, dim=0)


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def log_softmax(scores: Tensor) -> Tensor:
    return scores - scores.exp().sum().log()


class Weigh(nn.Module):
    """A lambda that needs no training."""

    def forward(self, features: Tensor) -> Tensor:
        return features[..., 0].exp()


def by_hand(views: Tensor, weights: list[float], space: str) -> Tensor:
    """One image, Eq. 4 with weights that sum to one."""
    units = [unit(view) for view in views]
    if space == "features":
        mean = sum((w * u for w, u in zip(weights, units, strict=True)), torch.zeros(WIDTH))
        return log_softmax(SCALE * unit(mean) @ classifier())
    logits = [SCALE * u @ classifier() for u in units]
    if space == "logits":
        return log_softmax(sum(w * z for w, z in zip(weights, logits, strict=True)))
    shares = [z.exp() / z.exp().sum() for z in logits]
    mixed: Tensor = sum(w * p for w, p in zip(weights, shares, strict=True))  # type: ignore[assignment]
    return mixed.log()


def choose(views: Tensor, loss: str) -> list[float]:
    """Equizero's weights: one for the view of least loss."""
    values = []
    for view in views:
        logits = SCALE * unit(view) @ classifier()
        shares = logits.exp() / logits.exp().sum()
        values.append(
            {
                "similarity": -float(logits.max()),
                "max_probability": -float(shares.max()),
                "entropy": -float((shares * shares.log()).sum()),
                "energy": -float(logits.exp().sum().log()),
            }[loss]
        )
    return [float(value == min(values)) for value in values]


Case = tuple[equitune.Weighting, Callable[[Tensor], list[float]]]


def case(name: str, group: str) -> Case:
    if name == "equitune":
        return equitune.Uniform(), lambda views: [1 / len(views)] * len(views)
    if name == "lambda_equitune":

        def weights(views: Tensor) -> list[float]:
            raw = [float(unit(view)[0].exp()) for view in views]
            return [value / sum(raw) for value in raw]

        return equitune.Learned(Weigh()), weights
    if name == "pretrained":
        rule = equitune.Identity(make_action(group).group)
        return rule, lambda views: [1.0] + [0.0] * (len(views) - 1)
    return equitune.Select(LOSSES[name]), lambda views: choose(views, name)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["pretrained", "equitune", "lambda_equitune", *LOSSES])
def test_scores_are_those_of_a_loop(name: str, space: str, group: str) -> None:
    rule, weights = case(name, group)
    views = embeddings(group)
    found = Scorer(rule, classifier(), SCALE, space)(views)
    expected = [by_hand(v, weights(v), space) for v in views.unbind(1)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["equitune", "lambda_equitune", *LOSSES])
def test_scores_do_not_depend_on_the_order_of_the_orbit(name: str) -> None:
    scorer, views = (
        Scorer(case(name, "rot90")[0], classifier(), SCALE, "features"),
        embeddings("rot90"),
    )
    torch.testing.assert_close(scorer(views.roll(1, 0)), scorer(views), rtol=1e-13, atol=1e-13)


def test_the_elementwise_maximum_is_the_authors() -> None:
    views = embeddings("rot90").requires_grad_()
    scorer = Scorer(Elementwise(), classifier(), 1.0, "probabilities")
    shares = (functional.normalize(views, dim=-1) @ classifier()).softmax(dim=-1)
    found = scorer(views)
    torch.testing.assert_close(found.exp(), shares.amax(dim=0))
    # The best class is that of the view with the largest probability; other entries are not its.
    chosen = Scorer(equitune.Select(LOSSES["max_probability"]), classifier(), 1.0, "probabilities")(
        views
    )
    assert torch.equal(found.argmax(dim=-1), chosen.argmax(dim=-1))
    assert not torch.allclose(found, chosen)
    # Its gradient is that of the mean.
    (gradient,) = torch.autograd.grad(found.exp()[:, 0].sum(), views)
    (expected,) = torch.autograd.grad(shares.mean(dim=0)[:, 0].sum(), views)
    torch.testing.assert_close(gradient, expected)


def test_lambda_as_a_temperature_is_the_authors() -> None:
    views = embeddings("rot90")
    scorer = Scorer(equitune.Uniform(), classifier(), 1.0, "probabilities", Weigh())
    units = functional.normalize(views, dim=-1)
    factor = units[..., :1].exp()
    expected = ((factor * units) @ classifier()).softmax(dim=-1).mean(dim=0)
    torch.testing.assert_close(scorer(views).exp(), expected)


def test_after_fine_tuning_lambda_reads_what_was_before() -> None:
    before, after = embeddings("rot90"), embeddings("rot90").roll(3, 1)
    scorer = Scorer(equitune.Learned(Weigh()), classifier(), SCALE, "features")
    found = scorer(torch.cat([after, before], dim=-1))
    weights = functional.normalize(before, dim=-1)[..., 0].exp()
    mean = equitune.average(functional.normalize(after, dim=-1), weights)
    expected = SCALE * functional.normalize(mean, dim=-1) @ classifier()
    torch.testing.assert_close(found, expected.log_softmax(dim=-1))
    assert not torch.allclose(found, scorer(after))


def test_the_second_softmax_is_one_of_probabilities() -> None:
    scores = torch.randn(4, CLASSES, dtype=torch.float64).log_softmax(dim=-1)
    labels = torch.tensor([0, 1, 2, 3])
    rows = torch.arange(4)
    once = learning_loss("cross_entropy", scores, labels)
    torch.testing.assert_close(once, -scores[rows, labels].mean())
    twice = learning_loss("cross_entropy_of_probabilities", scores, labels)
    shares = scores.exp()
    expected = -(shares[rows, labels] - shares.exp().sum(dim=-1).log()).mean()
    torch.testing.assert_close(twice, expected)
