"""Stage ``lambda`` of image tasks: what a weighting learns from stored features, the model frozen.

A network by labels (Eq. 4), or by the prior of Mondal et al. (NeurIPS 2023) without labels; the
temperature of a soft choice; the statistics of features of training images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.seeds import derive
from experiments.images.orbit_data import TurnedImages
from experiments.lambdas import build_net, fit_lambda, fit_temperature

if TYPE_CHECKING:
    from experiments.frame.options import MethodConfig
    from experiments.frame.records import Run

FITTED = "lambda.safetensors"
#: Purposes of generators: initial network and dropout; order of the images; images in a bank.
NET, ORDER, BANK = 40, 41, 42
#: Exponents of ten of the lowest and the highest temperature.
EXPONENTS = (-3, 2)
#: Share of a multiple of the unit matrix in a covariance, so that it can be inverted.
SHRINKAGE = 0.01
#: Images that ``neighbours`` compares with, at most.
BANKED = 5000
#: Numbers of neighbours to choose from.
NEIGHBOURS = (1, 3, 10, 30, 100)
_CHUNK = 2000


@dataclass(frozen=True)
class Reading:
    """How a weighting reads the features of single views.

    Attributes:
        group: The group.
        width: Number F of numbers that a network reads.
        read: From features of views, [N, ...], to the vectors that a network reads, [N, F].
        compare: From features of views to the vectors of a distance, [N, D].
        relus: Number of hidden layers of the network that end in a ReLU; None: all.
        net: Class of the network.
    """

    group: equitune.FiniteGroup
    width: int
    read: Callable[[Tensor], Tensor]
    compare: Callable[[Tensor], Tensor]
    relus: int | None = None
    net: type[equitune.LambdaNet] = equitune.LambdaNet


class Material(NamedTuple):
    """What a weighting is fitted to.

    Attributes:
        reading: How it reads features.
        learned: Training images.
        held_out: Training images that the model and the weighting did not learn from.
        scores: From a weighting to a function of the features of orbits, [G, B, ...], that returns
            log-probabilities of the classes, [B, K].
    """

    reading: Reading
    learned: TurnedImages
    held_out: TurnedImages
    scores: Callable[[equitune.Weighting], Callable[[Tensor], Tensor]]


class Fitted(NamedTuple):
    """What a weighting learned; see `experiments.frame.methods.Parts`."""

    net: nn.Module | None = None
    temperature: float | None = None
    rank: nn.Module | None = None


UNFITTED = Fitted()


class Unlikeliness(nn.Module):
    """Minus the output of a network, per view: a loss for `equitune.Select`."""

    def __init__(self, net: nn.Module, read: Callable[[Tensor], Tensor]) -> None:
        """Keep the network, and the function that gives its inputs."""
        super().__init__()
        self.net, self.read = net, read

    def forward(self, features: Float[Tensor, "group batch ..."]) -> Float[Tensor, "group batch"]:
        """Return the loss of every view."""
        found: Tensor = self.net(self.read(features.flatten(0, 1)))
        return -found.reshape(features.shape[:2])


class Distance(nn.Module):
    """How far the features of a view are from those of upright training images.

    ``mahalanobis``: the squared distance from one Gaussian. ``neighbours``: the mean distance from
    the nearest of a bank of unit vectors.
    """

    mean: Tensor
    whiten: Tensor
    bank: Tensor
    neighbours: Tensor
    threshold: Tensor

    def __init__(
        self, tensors: dict[str, Tensor], compare: Callable[[Tensor], Tensor], identity: int
    ) -> None:
        """Keep the statistics.

        Args:
            tensors: From `fit`: ``mean`` [F] and ``whiten`` [F, F], or ``bank`` [M, F] and their
                number ``neighbours`` []; with a gate, ``threshold`` [].
            compare: From features of views, [N, ...], to vectors, [N, F].
            identity: The identity of the group, for the gate.
        """
        super().__init__()
        self.compare, self.identity = compare, identity
        for name, value in tensors.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, features: Float[Tensor, "group batch ..."]) -> Float[Tensor, "group batch"]:
        """Return the distance of every view.

        With a gate, an input nearer than the threshold has minus infinity at the identity: it is
        taken as it is, which is not equivariant.
        """
        found = self.of(features.flatten(0, 1)).reshape(features.shape[:2])
        if not hasattr(self, "threshold"):
            return found
        own = found[self.identity]
        usual = torch.where(own <= self.threshold, -torch.inf, own)
        return torch.cat([found[: self.identity], usual[None], found[self.identity + 1 :]])

    def of(self, features: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """Return the distances of single views."""
        vectors = self.compare(features)
        if hasattr(self, "mean"):
            whitened = (vectors.to(self.mean.dtype) - self.mean) @ self.whiten
            return whitened.square().sum(dim=-1)
        units = functional.normalize(vectors, dim=-1)
        count = int(self.neighbours)
        near = [
            (part @ self.bank.T).topk(count).values.mean(dim=-1)
            for part in torch.split(units, _CHUNK)
        ]
        return 1 - torch.cat(near)


def load(method: MethodConfig, tensors: dict[str, Tensor], reading: Reading) -> Fitted:
    """Return what `fit` has stored, frozen."""
    if method.entry.needs_temperature:
        return Fitted(temperature=float(tensors["temperature"]))
    if method.entry.needs_reference:
        return Fitted(rank=Distance(tensors, reading.compare, reading.group.identity))
    assert method.lambda_net is not None
    # The random initial weights are replaced.
    with torch.random.fork_rng(devices=[]):
        net = build_net(reading.width, method.lambda_net, reading.relus, reading.net)
    net.load_state_dict(tensors)
    net.requires_grad_(False)
    return Fitted(net=net, rank=Unlikeliness(net, reading.read))


def fit(
    method: MethodConfig,
    run: Run,
    material: Material,
    loss: Callable[[Tensor], Tensor] | None,
    seed: int,
) -> None:
    """Fit a weighting, write what held-out images say of it, and store it.

    Args:
        method: The method.
        run: The run in progress.
        material: The data.
        loss: The proxy loss of a soft choice.
        seed: Seed of all that is drawn.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If a training diverges, or no image is held out.
    """
    if not len(material.held_out.labels):
        raise UserError(
            f"method={method.name} is fitted with held-out training images, and there are none; "
            "hold out more, or take more images"
        )
    if method.entry.needs_temperature:
        tensors = _fit_temperature(run, material, given(loss))
    elif method.entry.needs_reference:
        tensors = _fit_reference(method, run, material, seed)
    else:
        tensors = _fit_net(method, run, material, seed)
    run.fact("images", len(material.learned.labels))
    run.fact("device", "cpu")
    run.save(FITTED, tensors)


def _nats(material: Material, rule: equitune.Weighting, images: TurnedImages) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Upright images suffice: a turned one has the same orbit, and so the same scores.
    """
    score, total = material.scores(rule), 0.0
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(images.labels)), images.chunk):
            scores = score(_upright(images, rows))
            total += float(functional.nll_loss(scores, images.labels[rows], reduction="sum"))
    return total / len(images.labels)


def _upright(
    images: TurnedImages, rows: Int64[Tensor, " batch"]
) -> Float[Tensor, "group batch ..."]:
    """Return the features of the orbits of upright images."""
    return images.views(rows, torch.zeros_like(rows))


def _fit_temperature(
    run: Run, material: Material, loss: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Find the temperature at which the labels of held-out images are likeliest."""

    def nats(temperature: float) -> float:
        rule = equitune.SoftSelect(loss, temperature)
        return _nats(material, rule, material.held_out)

    temperature = fit_temperature(nats, *EXPONENTS)
    run.row("temperature", temperature, split="validation")
    run.row("cross_entropy", nats(temperature), split="validation")
    even = _nats(material, equitune.Uniform(), material.held_out)
    run.row("cross_entropy_uniform", even, split="validation")
    return {"temperature": torch.tensor(temperature, dtype=torch.float64)}


@torch.no_grad()
def _fit_reference(
    method: MethodConfig, run: Run, material: Material, seed: int
) -> dict[str, Tensor]:
    """Compute the statistics of upright training images, and the threshold of the gate."""
    reading = material.reading
    vectors = _vectors(material.learned, reading)
    tensors: dict[str, Tensor]
    if method.distance == "mahalanobis":
        mean = vectors.mean(dim=0)
        covariance = (vectors - mean).T @ (vectors - mean) / len(vectors)
        level = covariance.diagonal().mean()
        unit = torch.eye(len(covariance), dtype=covariance.dtype)
        values, axes = torch.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * level * unit)
        tensors = {"mean": mean, "whiten": axes * values.rsqrt()}
        if not bool(tensors["whiten"].isfinite().all()):
            raise UserError(
                f"method.distance=mahalanobis needs features that differ, and the {len(vectors)} "
                "training images have none; hold out fewer, or take more images"
            )
    else:
        generator = torch.Generator().manual_seed(derive(seed, BANK))
        chosen = torch.randperm(len(vectors), generator=generator)[:BANKED].sort().values
        bank = functional.normalize(vectors[chosen].float(), dim=-1)
        tensors = _choose_neighbours(method, run, material, bank)
    identity = reading.group.identity
    usual = _over_orbits(material.held_out, Distance(tensors, reading.compare, identity))
    run.row("upright_found", _upright_found(-usual, identity), split="validation")
    if method.gate is not None:
        threshold = usual[identity].double().quantile(method.gate / 100)
        run.row("gate_threshold", float(threshold), split="validation")
        tensors["threshold"] = threshold.to(usual.dtype)
    return tensors


def _choose_neighbours(
    method: MethodConfig, run: Run, material: Material, bank: Float[Tensor, "m width"]
) -> dict[str, Tensor]:
    """Return the bank and, if it is not given, the number of neighbours that finds upright views.

    Held-out images decide, without labels: how often the identity is the nearest view.
    """
    reading = material.reading
    if method.neighbours is not None and method.neighbours > len(bank):
        raise UserError(
            f"method.neighbours={method.neighbours} is more than the {len(bank)} training images"
        )

    def tensors(count: int) -> dict[str, Tensor]:
        return {"bank": bank, "neighbours": torch.tensor(count)}

    def found(count: int) -> float:
        distance = Distance(tensors(count), reading.compare, reading.group.identity)
        return _upright_found(-_over_orbits(material.held_out, distance), reading.group.identity)

    counts = [count for count in NEIGHBOURS if count <= len(bank)]
    best = method.neighbours or max(counts, key=found)
    run.row("neighbours", best, split="validation")
    return tensors(best)


def _vectors(images: TurnedImages, reading: Reading) -> Float[Tensor, "n width"]:
    """Return the vectors of a distance of upright images, in double precision."""
    identity, every = reading.group.identity, torch.arange(len(images.labels))
    parts = [
        reading.compare(_upright(images, rows)[identity]).double()
        for rows in torch.split(every, images.chunk)
    ]
    return torch.cat(parts)


@torch.no_grad()
def _over_orbits(images: TurnedImages, judge: nn.Module) -> Float[Tensor, "group n"]:
    """Apply a function to the orbits of upright images."""
    parts = torch.split(torch.arange(len(images.labels)), images.chunk)
    return torch.cat([judge(_upright(images, rows)) for rows in parts], dim=1)


def _upright_found(likeliness: Float[Tensor, "group n"], identity: int) -> float:
    """Return in how many percent of upright images the identity is the likeliest view."""
    return 100 * float((likeliness.argmax(dim=0) == identity).double().mean())


def _fit_net(method: MethodConfig, run: Run, material: Material, seed: int) -> dict[str, Tensor]:
    """Train the network: by the prior, by labels, or by both."""
    reading, images = material.reading, material.learned
    assert method.lambda_net is not None
    by_prior, by_labels = method.entry.needs_pose, method.labels_weight

    def loss(net: equitune.LambdaNet, rows: Tensor) -> Tensor:
        features = _upright(images, rows)
        total = torch.zeros(())
        if by_prior:
            weights = net(reading.read(features.flatten(0, 1))).reshape(features.shape[:2])
            total = total + equitune.prior_loss(weights, reading.group)
        if by_labels:
            rule = equitune.Learned(net, reading.read, reads="features")
            scores = material.scores(rule)(features)
            total = total + by_labels * functional.nll_loss(scores, images.labels[rows])
        return total

    net = fit_lambda(
        run,
        method.lambda_net,
        reading.width,
        len(images.labels),
        loss,
        seed=derive(seed, NET),
        order=np.random.default_rng(derive(seed, ORDER)),
        relus=reading.relus,
        kind=reading.net,
    )
    rule = equitune.Learned(net, reading.read, reads="features")
    run.row("cross_entropy", _nats(material, rule, material.held_out), split="validation")
    even = _nats(material, equitune.Uniform(), material.held_out)
    run.row("cross_entropy_uniform", even, split="validation")
    unlikely = _over_orbits(material.held_out, Unlikeliness(net, reading.read))
    found = _upright_found(-unlikely, reading.group.identity)
    run.row("upright_found", found, split="validation")
    return net.state_dict()
