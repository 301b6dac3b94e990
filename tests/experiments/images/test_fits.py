"""What weightings learn from stored features, on toys whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.frame.errors import UserError
from experiments.frame.methods import METHODS, Parts
from experiments.frame.options import LambdaNetConfig, MethodConfig
from experiments.frame.records import Run
from experiments.images.extraction import Orbits
from experiments.images.fits import (
    FITTED,
    NEIGHBOURS,
    Distance,
    Fitted,
    Material,
    Reading,
    fit,
    load,
)
from experiments.images.orbit_data import Stored

WIDTH, CLASSES = 6, 3
GROUP = equitune.cyclic(4)
SAMPLE = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
NET = LambdaNetConfig(
    hidden=16,
    depth=2,
    dropout=0.0,
    positive="exp",
    learning_rate=1e-2,
    weight_decay=0.0,
    steps=150,
    batch_size=32,
)


class Recorded:
    """The parts of a run that a fit uses."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.should_checkpoint = folder, False
        self.rows: dict[str, float] = {}
        self.tensors: dict[str, Tensor] = {}

    def row(self, metric: str, value: float, **_: Any) -> None:
        self.rows[metric] = value

    def fact(self, *_: Any) -> None:
        pass

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        assert name == FITTED
        self.tensors = tensors


def flat(features: Tensor) -> Tensor:
    return features.flatten(1)


READING = Reading(GROUP, WIDTH, flat, flat)


def images(count: int, seed: int, noise: float = 1.0) -> Stored:
    """Features whose class shows in the upright view, which a positive first number marks."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    values = noise * torch.randn(4, count, WIDTH, generator=generator)
    values[0, torch.arange(count), 1 + labels] += 4
    values[:, :, 0] = torch.tensor([2.0, -2, -2, -2])[:, None] + 0.3 * values[:, :, 0]
    return Stored(Orbits(values, labels, "rot90", SAMPLE), "rot90", "rot90")


def scores(rule: equitune.Weighting) -> Callable[[Tensor], Tensor]:
    """Combine the logits of views: the features 1 to 3."""

    def combine(features: Tensor) -> Tensor:
        logits = features[..., 1 : 1 + CLASSES]
        found: Tensor = rule(equitune.Views(features, logits, logits, features))
        return found.log_softmax(dim=-1)

    return combine


MATERIAL = Material(READING, images(300, 0), images(150, 1), scores)


def fitted(method: MethodConfig, tmp_path: Path, seed: int = 0) -> tuple[Fitted, Recorded]:
    run = Recorded(tmp_path)
    fit(method, cast("Run", run), MATERIAL, equitune.losses.entropy, seed)
    return load(method, run.tensors, READING), run


def accuracy(method: str, found: Fitted) -> float:
    parts = Parts(
        GROUP,
        equitune.losses.entropy,
        found.net,
        flat,
        temperature=found.temperature,
        rank=found.rank,
        reads="features",
    )
    data = images(300, 2)
    rows = torch.arange(300)
    chosen = scores(METHODS[method].weighting(parts))(data.views(rows, rows % 4))
    return float((chosen.argmax(dim=-1) == data.labels).double().mean())


def test_a_temperature_is_the_likeliest_on_held_out_images(tmp_path: Path) -> None:
    found, run = fitted(MethodConfig("soft_equizero"), tmp_path)
    assert found.temperature == pytest.approx(run.rows["temperature"])
    upright = MATERIAL.held_out.views(torch.arange(150), torch.zeros(150, dtype=torch.long))

    def nats(temperature: float) -> float:
        rule = equitune.SoftSelect(equitune.losses.entropy, temperature)
        return float(functional.nll_loss(scores(rule)(upright), MATERIAL.held_out.labels))

    assert run.rows["cross_entropy"] == pytest.approx(nats(run.rows["temperature"]), rel=1e-5)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert nats(run.rows["temperature"] * factor) >= run.rows["cross_entropy"] - 1e-6
    assert run.rows["cross_entropy"] < run.rows["cross_entropy_uniform"]


@pytest.mark.parametrize("method", ["prior_lambda", "canonicalizer"])
def test_a_network_learns_which_view_is_upright_without_labels(tmp_path: Path, method: str) -> None:
    config = MethodConfig(method, NET, task_weight=0.0)
    found, run = fitted(config, tmp_path)
    assert run.rows["upright_found"] > 95
    assert accuracy(method, found) > accuracy("equitune", found) + 0.1
    assert not config.uses_labels
    labelled = MethodConfig(method, NET, task_weight=1.0)
    other, _ = fitted(labelled, tmp_path)
    assert labelled.uses_labels and found.net is not None and other.net is not None
    before, after = found.net.state_dict(), other.net.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_lambda_learns_from_labels(tmp_path: Path) -> None:
    found, run = fitted(MethodConfig("lambda_equitune", NET), tmp_path)
    assert run.rows["cross_entropy"] < run.rows["cross_entropy_uniform"]
    assert accuracy("lambda_equitune", found) > accuracy("equitune", found) + 0.1


@pytest.mark.parametrize("distance", ["mahalanobis", "neighbours"])
def test_the_most_usual_view_is_the_upright_one(tmp_path: Path, distance: str) -> None:
    found, run = fitted(MethodConfig("distance", distance=distance), tmp_path)
    assert run.rows["upright_found"] > 90
    assert accuracy("distance", found) > 0.8
    assert isinstance(found.rank, Distance)


def test_the_number_of_neighbours_finds_most_upright_views_of_held_out_images(
    tmp_path: Path,
) -> None:
    def found(count: int | None) -> Recorded:
        method = MethodConfig("distance", distance="neighbours", neighbours=count)
        return fitted(method, tmp_path)[1]

    each = {count: found(count).rows for count in NEIGHBOURS}
    assert all(rows["neighbours"] == count for count, rows in each.items())
    chosen, shares = found(None).rows, [rows["upright_found"] for rows in each.values()]
    assert chosen["upright_found"] == max(shares)
    assert each[int(chosen["neighbours"])]["upright_found"] == max(shares)
    with pytest.raises(UserError, match="neighbours=1000 is more than the 300 training images"):
        found(1000)


def test_a_mahalanobis_distance_is_that_of_its_definition(tmp_path: Path) -> None:
    found, _ = fitted(MethodConfig("distance", distance="mahalanobis"), tmp_path)
    assert isinstance(found.rank, Distance)
    vectors = MATERIAL.learned.features.values[0].double()
    covariance = vectors.T.cov(correction=0)
    level = 0.01 * covariance.diagonal().mean() * torch.eye(WIDTH, dtype=torch.float64)
    inverse = torch.linalg.inv(0.99 * covariance + level)
    away = images(5, 3).features.values[1].double() - vectors.mean(dim=0)
    expected = torch.einsum("nf,fg,ng->n", away, inverse, away)
    torch.testing.assert_close(found.rank.of(images(5, 3).features.values[1]), expected)


def test_a_gate_takes_usual_inputs_as_they_are(tmp_path: Path) -> None:
    """It is reported as an equivariance error, which a distance without it does not have."""
    plain = MethodConfig("distance", distance="mahalanobis")
    gated = MethodConfig("distance", distance="mahalanobis", gate=100.0)
    free, _ = fitted(plain, tmp_path)
    bound, run = fitted(gated, tmp_path)
    assert free.rank is not None and bound.rank is not None
    rows = torch.arange(150)
    upright = MATERIAL.held_out.views(rows, torch.zeros_like(rows))
    assert (bound.rank(upright).argmin(dim=0) == 0).all() and run.rows["gate_threshold"] > 0
    # The orbit of a turned image is the same one in another order: its choice must be another.
    turned = MATERIAL.held_out.views(rows, torch.ones_like(rows))
    assert (free.rank(turned).argmin(dim=0) == 3).double().mean() > 0.9
    assert (bound.rank(turned).argmin(dim=0) == 3).double().mean() > 0.9
    near = bound.rank.of(turned[0]) <= run.rows["gate_threshold"]  # type: ignore[operator]
    assert torch.equal(bound.rank(turned).argmin(dim=0) == 0, near)


def test_no_held_out_image_is_refused(tmp_path: Path) -> None:
    bare = MATERIAL._replace(held_out=MATERIAL.held_out.take(torch.arange(0)))
    with pytest.raises(UserError, match="hold out more"):
        fit(MethodConfig("soft_equizero"), cast("Run", Recorded(tmp_path)), bare, None, 0)


def test_a_single_image_has_no_mahalanobis_distance(tmp_path: Path) -> None:
    one = MATERIAL._replace(learned=MATERIAL.learned.take(torch.arange(1)))
    method = MethodConfig("distance", distance="mahalanobis")
    with pytest.raises(UserError, match="needs features that differ, and the 1 training images"):
        fit(method, cast("Run", Recorded(tmp_path)), one, None, 0)


# Theorem 1 of every rule, and its limits.

ROT = equitune.Rot90()


class Parted(nn.Module):
    """Features of pictures that change when they turn."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(WIDTH, 16, generator=generator, dtype=torch.float64)
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.weight.T)  # type: ignore[operator]


def parts(kind: str, seed: int, group: equitune.FiniteGroup) -> Parts:
    """Return what a method learned, at random."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = equitune.LambdaNet(WIDTH, positive="exp").double()
    square = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    tensors = {
        "mahalanobis": {"mean": square[0], "whiten": square},
        "neighbours": {
            "bank": functional.normalize(square, dim=-1),
            "neighbours": torch.tensor(3),
        },
    }
    tensor = tensors.get(kind, tensors["mahalanobis"])
    reading = Reading(group, WIDTH, flat, flat)
    rank: nn.Module = Distance(tensor, flat, group.identity)
    if kind == "net":
        from experiments.images.fits import Unlikeliness

        rank = Unlikeliness(net, reading.read)
    return Parts(
        group, equitune.losses.energy, net, flat, temperature=0.7, rank=rank, reads="features"
    )


CASES = {
    "soft_equizero": "net",
    "prior_lambda": "net",
    "canonicalizer": "net",
    "distance": "mahalanobis",
    "distance by neighbours": "neighbours",
    "augmented_equitune": "net",
}


@pytest.mark.parametrize("case", CASES)
@given(seed=st.integers(0, 2**20))
@settings(max_examples=15, deadline=None)
def test_theorem_1_of_every_further_method(case: str, seed: int) -> None:
    torch.manual_seed(seed)
    same = equitune.Invariant(ROT.group)
    head = nn.Linear(WIDTH, CLASSES).double()
    rule = METHODS[case.split()[0]].weighting(parts(CASES[case], seed, ROT.group))
    model = equitune.Equivariant(Parted(seed), ROT, same, rule, head=head).eval()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    assert equitune.equivariance_error(model, x, ROT, same) < 1e-10


@pytest.mark.parametrize("case", CASES)
def test_the_trivial_group_leaves_the_model_as_it_is_bit_for_bit(case: str) -> None:
    alone = equitune.Invariant(equitune.trivial())
    head, body = nn.Linear(WIDTH, CLASSES).double(), Parted(0)
    rule = METHODS[case.split()[0]].weighting(parts(CASES[case], 0, alone.group))
    model = equitune.Equivariant(body, alone, alone, rule, head=head).eval()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(model(x), head(body(x)))


def test_the_limits_of_a_temperature_are_equizero_and_equitune() -> None:
    rows = torch.arange(150)
    features = MATERIAL.held_out.views(rows, rows % 4)
    loss = equitune.losses.entropy

    def soft(temperature: float) -> Tensor:
        given = Parts(GROUP, loss, temperature=temperature)
        return scores(METHODS["soft_equizero"].weighting(given))(features)

    zero = scores(METHODS["equizero"].weighting(Parts(GROUP, loss)))(features)
    assert torch.equal(soft(1e-30), zero)
    even = scores(METHODS["equitune"].weighting(Parts(GROUP)))(features)
    torch.testing.assert_close(soft(1e30), even, rtol=0, atol=1e-6)


def test_the_energy_of_logits_and_its_scale() -> None:
    logits = torch.tensor([[[0.0, 0.0]], [[3.0, 0.0]]])
    expected = torch.tensor([[-math.log(2)], [-math.log(math.exp(3) + 1)]])
    torch.testing.assert_close(equitune.losses.energy(logits), expected)
    shifted = equitune.losses.energy(logits.log_softmax(dim=-1))
    torch.testing.assert_close(shifted, torch.zeros(2, 1), atol=1e-6, rtol=0)
