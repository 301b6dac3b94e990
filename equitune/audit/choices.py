"""The methods of an audit, and the choices that they need: a loss, a temperature, a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import functional

from equitune import losses as known
from equitune.audit.stored import Ruler, Stored, is_classes, is_scores, merge
from equitune.averaging import Ties
from equitune.rules import Identity, Learned, Select, SoftSelect, Uniform, Weighting
from equitune.training import FitOptions, fit, prior_loss
from equitune.trees import leaves
from equitune.weights import LambdaNet

Loss = Callable[[Any], Tensor]

NEEDS = ("nothing", "a temperature", "upright inputs", "labels")
"""What the choices of a method are made with, from cheap to dear."""

TEMPERATURES = (1.0, 0.5, 2.0, 0.25, 4.0, 0.125)
"""Temperatures of soft selection that are tried, in units of the loss's spread in an orbit."""

TRAINING: FitOptions = {"steps": 500, "every": 25, "patience": 5}
"""How networks are trained. A fifth of the samples is held out."""

BATCH = 64
"""Samples in a batch of this training."""


class Method(NamedTuple):
    """A method with its choices made; `Row` explains the fields."""

    name: str
    weighting: Weighting
    code: str
    needs: str = NEEDS[0]
    candidate: bool = True

    @property
    def procedure(self) -> str:
        """The method without its loss, such as "equizero"."""
        return self.name.partition(" (")[0]


class Upright(nn.Module):
    """A loss that is least at the view that a network takes for the upright one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Shaped[Tensor, "group batch features"]) -> Tensor:
        """Return minus the network's weight of each view, [G, B]."""
        weights: Tensor = self.net(features)
        return -weights


class Chooser:
    """Makes the methods of an audit from samples."""

    def __init__(
        self,
        batches: Sequence[Stored],
        ruler: Ruler,
        losses: Mapping[str, Loss] | None,
        labelled: bool,
        seed: int,
    ) -> None:
        self.samples, self.ruler = merge(batches), ruler
        self.labelled, self.seed = labelled, seed
        given = None if losses is None else {name: (loss, name) for name, loss in losses.items()}
        self.losses = fitting_losses(self.samples.outputs) if given is None else given
        for loss, _ in self.losses.values():
            if isinstance(loss, nn.Module):
                loss.eval()
        self.reads: Literal["outputs", "features"] = (
            "outputs" if self.samples.features is None else "features"
        )
        self.have_mean = all(
            leaf.is_floating_point() for _, leaf in leaves(self.samples.outputs, "")
        )
        self.notes: list[str] = []

    def methods(self) -> tuple[list[Method], list[str]]:
        """Return the pretrained model and every method that fits; what was left out, and why."""
        bare = Method("pretrained", Identity(self.ruler.group), "Identity(action_in.group)")
        methods = [bare, *self._averaged(), *self._selected(), *self._trained()]
        return methods, self.notes

    def _averaged(self) -> list[Method]:
        if self.have_mean:
            return [Method("equitune", Uniform(), "Uniform()")]
        self.notes.append("equitune is left out: only floating point outputs have a mean.")
        return []

    def _selected(self) -> list[Method]:
        """Return equizero by each loss, and soft selection by the best loss and temperature."""
        if not self.losses:
            self.notes.append("equizero is left out: no loss of equitune.losses fits the outputs.")
            return []
        # Where views tie, "average" is equivariant and "first" is not.
        ties: Ties = "average" if self.have_mean else "first"
        hard = [
            Method(f"equizero ({name})", Select(loss, ties), f"Select({code}, {ties!r})")
            for name, (loss, code) in self.losses.items()
        ]
        soft = [
            Method(
                f"soft selection ({name})",
                SoftSelect(loss, temperature),
                f"SoftSelect({code}, {temperature})",
                NEEDS[1],
            )
            for name, (loss, code) in self.losses.items()
            for temperature in (self._temperatures(loss) if self.have_mean else [])
        ]
        best = self._best(hard)
        hard = [method._replace(candidate=method is best) for method in hard]
        return [*hard, self._best(soft)] if soft else hard

    def _best(self, methods: list[Method]) -> Method:
        """Return the method of best metric on the samples, of equals the first."""
        return max(methods, key=lambda method: self.ruler.upright(method.weighting, self.samples))

    @torch.no_grad()
    def _temperatures(self, loss: Loss) -> list[float]:
        values = loss(self.samples.outputs).double()
        spread = values[:, values.isfinite().all(dim=0)].std(dim=0, correction=0)
        unit = float(spread.mean()) if len(spread) else 0.0
        return [float(f"{unit * factor:.3g}") for factor in TEMPERATURES] if unit > 0 else []

    def _trained(self) -> list[Method]:
        part = getattr(self.samples, self.reads)
        if self.ruler.group.order == 1:
            return []
        if not (isinstance(part, Tensor) and part.ndim == 3 and part.is_floating_point()):
            self.notes.append(
                "prior and lambda are left out: they read vectors, outputs [N, C] or the features "
                "[N, F] of a split model (head=)."
            )
            return []
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            held, used = torch.randperm(self.samples.size).tensor_split(
                [max(1, self.samples.size // 5)]
            )
            train, held_out = (
                [self.samples.rows(rows) for rows in torch.split(part, BATCH)]
                for part in (used, held)
            )
            found = [self._prior(train, held_out, part.shape[2])]
            if self.labelled and is_classes(self.samples):
                found.append(self._lambda(train, held_out, part.shape[2]))
            else:
                self.notes.append("lambda is left out: it learns from labels that are classes.")
        return found

    def _prior(self, train: list[Stored], held_out: list[Stored], size: int) -> Method:
        net = LambdaNet(size, positive="exp")

        def loss(batch: Stored) -> Tensor:
            """Return minus the log of the weight of the upright views."""
            return prior_loss(net(getattr(batch, self.reads)), self.ruler.group)

        fit(net, train, loss, held_out, **TRAINING)
        weighting = Select(Upright(net.requires_grad_(False)), "average", reads=self.reads)
        return Method("prior", weighting, "audit.weightings['prior']", NEEDS[2])

    def _lambda(self, train: list[Stored], held_out: list[Stored], size: int) -> Method:
        rule = Learned(LambdaNet(size, positive="exp"), reads=self.reads)
        upright = self.ruler.group.identity

        def loss(batch: Stored) -> Tensor:
            """Return the cross-entropy of the weighted mean on upright inputs."""
            return functional.cross_entropy(rule(self.ruler.views(batch, upright)), batch.targets)

        fit(rule, train, loss, held_out, **TRAINING)
        return Method("lambda", rule, "audit.weightings['lambda']", NEEDS[3])


def fitting_losses(outputs: Any) -> dict[str, tuple[Loss, str]]:
    """Return the losses of `equitune.losses` for outputs [G, B, C, ...], with their code."""
    if not is_scores(outputs):
        return {}
    dim: dict[str, Any] = {} if outputs.ndim == 3 else {"dim": 2 - outputs.ndim}
    options: dict[str, dict[str, Any]] = {
        "max_probability": {"log_odds": True, **dim},  # equal in order, but does not saturate
        "entropy": dim,
        "max_score": dim,
    }
    found: dict[str, tuple[Loss, str]] = {}
    for name, own in options.items():
        words = "".join(f", {key}={value}" for key, value in own.items())
        loss = getattr(known, name)
        found[name] = (
            (partial(loss, **own), f"partial(losses.{name}{words})")
            if own
            else (loss, f"losses.{name}")
        )
    return found
