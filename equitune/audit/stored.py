"""What a model gave for the orbits of samples, and how methods do on it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from equitune.actions import Action
from equitune.checks import equivariance_error
from equitune.groups import FiniteGroup
from equitune.rules import Views, Weighting
from equitune.trees import leaves, map_tree, move_tree
from equitune.wrapper import Equivariant

Metric = Callable[[Any, Any], Tensor]

FOLDS = 5
"""In how many parts the samples are divided; choices are made on all but one of them."""


@dataclass(frozen=True)
class Stored:
    """What the model gave for some samples, on the CPU.

    Attributes:
        outputs: M(gx), a tensor [G, B, ...] or a tree of such.
        features: What the head of a split model reads, or None.
        targets: What the metric compares with, [B, ...] or a tree of such, or None.
    """

    outputs: Any
    features: Any
    targets: Any

    @property
    def size(self) -> int:
        """The number of samples B."""
        return int(leaves(self.outputs, "")[0][1].shape[1])

    def rows(self, rows: Shaped[Tensor, " n"]) -> Stored:
        """Return the samples that an index or a mask names."""
        outputs, features = (
            map_tree(lambda leaf: leaf[:, rows], tree) for tree in (self.outputs, self.features)
        )
        return Stored(outputs, features, map_tree(lambda leaf: leaf[rows], self.targets))


class Passed(NamedTuple):
    """All batches, the number of inputs that went through the model, and the seconds it took."""

    batches: list[Stored]
    passes: int
    seconds: float


@torch.no_grad()
def pass_through(model: Equivariant, batches: Iterable[Any]) -> Passed:
    """Pass the orbit of every batch through the model, on the device of its first parameter.

    Raises:
        TypeError: If a batch is neither inputs nor a tuple that begins with them.
        ValueError: If some batches have targets and others have none, or an output is NaN.
    """
    tensors = chain(model.parameters(), model.buffers())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    model.action_in.to(device)
    found, seconds = [], 0.0
    for batch in batches:
        inputs, targets, further = _parts(batch)
        start = time.perf_counter()
        further = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in further.items()
        }
        views = model.views(inputs.to(device), **further)
        outputs, features, targets = (
            map_tree(lambda leaf: leaf.cpu(), tree)
            for tree in (views.outputs, views.features, targets)
        )
        seconds += time.perf_counter() - start
        if any(leaf.is_floating_point() and leaf.isnan().any() for _, leaf in leaves(outputs, "")):
            raise ValueError("the model returned NaN for some inputs, or for transforms of them")
        found.append(Stored(outputs, features, targets))
    if len({batch.targets is None for batch in found}) > 1:
        raise ValueError("some batches have targets, others have none")
    passes = model.action_in.group.order * sum(batch.size for batch in found)
    return Passed(found, passes, seconds)


def _parts(batch: Any) -> tuple[Tensor, Any, dict[str, Any]]:
    """Return inputs, targets or None, and further arguments of the model."""
    parts = [batch] if isinstance(batch, Tensor) else batch
    if isinstance(parts, tuple | list) and 1 <= len(parts) <= 3 and isinstance(parts[0], Tensor):
        inputs, targets, further = [*parts, None, None][:3]
        return inputs, targets, further or {}
    raise TypeError(
        "a batch must be inputs [B, ...], (inputs, targets) or (inputs, targets, further "
        f"arguments by name), got {type(batch).__name__}"
    )


def folds(batches: Sequence[Stored], seed: int) -> Iterator[tuple[list[Stored], list[Stored]]]:
    """Yield the samples of each fold behind all others: to choose on, and to measure.

    Of as many samples in succession as there are folds, chance gives one to each. There are `FOLDS`
    of them, or fewer, so that each has two samples; but two at least.
    """
    sizes = [batch.size for batch in batches]
    count = fold_count(sum(sizes))
    generator = torch.Generator().manual_seed(seed)
    orders = torch.rand(sum(sizes) // count + 1, count, generator=generator).argsort(dim=1)
    pairs = list(zip(batches, torch.split(orders.flatten()[: sum(sizes)], sizes), strict=True))
    for fold in range(count):
        others, own = (
            [
                batch.rows(rows)
                for batch, places in pairs
                if bool((rows := (places == fold) == is_own).any())
            ]
            for is_own in (False, True)
        )
        yield others, own


def fold_count(samples: int) -> int:
    """Return the number of folds of so many samples."""
    return max(2, min(FOLDS, samples // 2))


def merge(batches: Sequence[Stored]) -> Stored:
    """Return all samples as one batch."""
    outputs, features = (
        map_tree(lambda *parts: torch.cat(parts, dim=1), *trees)
        for trees in ([b.outputs for b in batches], [b.features for b in batches])
    )
    targets = map_tree(lambda *parts: torch.cat(parts), *[b.targets for b in batches])
    return Stored(outputs, features, targets)


class Measured(NamedTuple):
    """How a method did.

    Attributes:
        values: The metric on gx, carried back, [G, N].
        error: The largest equivariance error of the batches.
        changed: Share of gx, g other than e, with another class than x; None without classes.
        seconds: Time of the rule alone, for one input.
    """

    values: Float64[Tensor, "group n"]
    error: float
    changed: float | None
    seconds: float


class Ruler:
    """Measures rules on stored samples."""

    def __init__(self, group: FiniteGroup, action_out: Any, metric: Metric) -> None:
        self.group, self.metric = group, metric
        self.action_out = copy.deepcopy(action_out)
        for _, action in leaves(self.action_out, ""):
            action.cpu()

    def views(self, batch: Stored, g: int) -> Views:
        """Return the views of gx. No inputs are stored: theirs is an empty tensor, [G, B, 0]."""
        order = self.group.table[:, g]  # h(gx) = (hg)x: the same orbit in another order
        outputs, features = (
            map_tree(lambda leaf: leaf[order], tree) for tree in (batch.outputs, batch.features)
        )
        inputs = torch.empty(self.group.order, batch.size, 0)
        return Views(inputs, outputs, self._undo(outputs), features)

    @torch.no_grad()
    def upright(self, rule: Weighting, batch: Stored) -> float:
        """Return the mean metric on x; for an equivariant rule it is that on every gx."""
        output = rule(self.views(batch, self.group.identity))
        return float(self._values(output, batch.targets).mean())

    @torch.no_grad()
    def measure(self, parts: Sequence[tuple[Weighting, Stored]]) -> Measured:
        """Return how a method does on all transforms of all samples, with a rule for each batch."""
        values, errors, changes, seconds = [], [], [], 0.0
        for rule, batch in parts:
            views = [self.views(batch, g) for g in self.group.elements]
            start = time.perf_counter()
            found = [rule(one) for one in views]
            seconds += time.perf_counter() - start
            outputs = map_tree(lambda *parts: torch.stack(parts), *found)
            errors.append(self._error(outputs, batch.size))
            carried = self._undo(outputs)
            trees = [map_tree(lambda leaf, g=g: leaf[g], carried) for g in self.group.elements]
            values.append(torch.stack([self._values(tree, batch.targets) for tree in trees]))
            changes.append(self._changes(carried))
        known = [one for one in changes if one is not None]
        return Measured(
            torch.cat(values, dim=1),
            float(torch.tensor(errors, dtype=torch.float64).max()),
            float(torch.cat(known).mean()) if known else None,
            seconds / (self.group.order * sum(batch.size for _, batch in parts)),
        )

    def _undo(self, outputs: Any) -> Any:
        return move_tree(lambda action, leaf: action.undo(leaf), self.action_out, outputs)

    def _values(self, output: Any, targets: Any) -> Tensor:
        count = leaves(output, "")[0][1].shape[0]
        values = self.metric(output, targets)
        if not isinstance(values, Tensor) or values.shape != (count,):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"the metric must return one number per sample, [{count}], got {shape}"
            )
        if not bool(values.isfinite().all()):
            raise ValueError("the metric returned a number that is not finite")
        return values.double()

    def _error(self, outputs: Any, count: int) -> float:
        """Return the equivariance error of outputs M_G(gx), [G, B, ...]."""
        upright = torch.full((count,), self.group.identity)
        ids = torch.stack([upright, torch.arange(count)], dim=1)
        action = _Reorder(self.group)
        return equivariance_error(
            lambda x: map_tree(lambda leaf: leaf[x[:, 0], x[:, 1]], outputs),
            ids,
            action,
            self.action_out,
        )

    def _changes(self, carried: Any) -> Tensor | None:
        """Return the share of other classes among the transforms of each sample, [B]."""
        if not is_scores(carried) or self.group.order == 1:
            return None
        classes = carried.argmax(dim=2)
        differs = (classes != classes[self.group.identity]).double().reshape(*classes.shape[:2], -1)
        changed: Tensor = differs.mean(dim=2).sum(dim=0) / (self.group.order - 1)
        return changed


class _Reorder(Action):
    """The action on pairs (element h, sample): g moves h to gh."""

    def act(self, g: int, x: Shaped[Tensor, "batch 2"]) -> Shaped[Tensor, "batch 2"]:
        """Return the pairs of gx."""
        return torch.stack([self.group.table[g, x[:, 0]], x[:, 1]], dim=1)


def is_scores(outputs: Any) -> bool:
    """Return whether outputs are scores of two classes or more, [G, B, C, ...]."""
    return (
        isinstance(outputs, Tensor)
        and outputs.is_floating_point()
        and outputs.ndim >= 3
        and outputs.shape[2] >= 2
    )


def is_classes(samples: Stored) -> bool:
    """Return whether targets are the classes of outputs [G, B, C, ...]."""
    outputs, targets = samples.outputs, samples.targets
    return (
        is_scores(outputs)
        and isinstance(targets, Tensor)
        and not (targets.is_floating_point() or targets.is_complex())
        and targets.shape == (outputs.shape[1], *outputs.shape[3:])
    )


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of right classes of each sample, [B], for outputs [B, C, ...]."""
    return (outputs.argmax(dim=1) == targets).double().reshape(len(outputs), -1).mean(dim=1)
