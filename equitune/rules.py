"""Weighting rules: how the views of an orbit are combined. Each is a lambda of Eq. 4.

The rules combine what `equitune.averaging` computes; they hold no mathematics of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from equitune.averaging import (
    Selected,
    Ties,
    average,
    check_temperature,
    select,
    soft_select_weights,
    straight_through,
)
from equitune.groups import FiniteGroup, check_group
from equitune.kinds import check_function, check_kind, described
from equitune.trees import map_tree

Reads = Literal["outputs", "inputs", "features", "views"]


class Views(NamedTuple):
    """The views of an orbit through a model.

    Attributes:
        inputs: gx, [G, B, ...].
        outputs: M(gx), the raw outputs that proxy losses judge: a tensor [G, B, ...], or a tree of
            such where the model returns a tree.
        undone: g^-1 M(gx), the terms of Eq. 4; a tree like the outputs.
        features: What the head of a split model (`Equivariant(..., head=head)`) reads, [G, B, ...]
            or a tree of such; None where the model is not split.
    """

    inputs: Shaped[Tensor, "group batch ..."]
    outputs: Any
    undone: Any
    features: Any = None


class Weighed(NamedTuple):
    """The result of a rule, with the reasons for it.

    Attributes:
        output: The combined output, as the rule's `forward` returns it.
        weights: lambda(gx), normalised over the group, [G, B]; [G, B, T] if there is one per token.
        scores: What the rule ranks the views by, higher is better, in the shape of the weights:
            minus the proxy loss where there is one; else the weights.
    """

    output: Any
    weights: Float[Tensor, "group batch ..."]
    scores: Shaped[Tensor, "group batch ..."]


WeightingT = TypeVar("WeightingT", bound="Weighting")


class Weighting(nn.Module, ABC):
    """A rule that combines the views of an orbit.

    Attributes:
        group: The group whose identity the rule refers to, or None if it refers to none.
    """

    group: FiniteGroup | None = None

    def __init__(self) -> None:
        """Start without helpers."""
        super().__init__()
        self._helpers: tuple[Any, ...] = ()

    @abstractmethod
    def forward(self, views: Views) -> Any:
        """Return the combined output: a tensor [B, ...], or a tree of such like `views.undone`."""

    def weigh(self, views: Views) -> Weighed:
        """Return the combined output and the weights, for `Equivariant.explain`.

        Raises:
            NotImplementedError: If a rule of your own does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not tell its weights: define weigh")

    def _add_helper(self, name: str, helper: Any) -> None:
        """Keep a frozen callable out of parameters() and state_dict(), even if it is a module."""
        object.__setattr__(self, name, helper)
        self._helpers = (*self._helpers, helper)

    def train(self: WeightingT, mode: bool = True) -> WeightingT:
        """Set the mode; frozen helpers are put into evaluation mode, and never out of it."""
        super().train(mode)
        for helper in self._helpers:
            if isinstance(helper, nn.Module) and not mode:
                helper.eval()
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Weighting:
        # Helpers are not registered, so moves to a device or dtype must be passed on by hand.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for helper in self._helpers:
            if isinstance(helper, nn.Module):
                helper._apply(lambda tensor: _moved(tensor, fn))  # type: ignore[no-untyped-call]
        return self


def _moved(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a tensor on the device to which a function moves others, with its values kept.

    No state dict holds these values: if "meta" or `to_empty` dropped them, they would be lost.
    """
    like = fn(tensor.new_empty(0))
    return tensor if like.is_meta else tensor.to(device=like.device, dtype=like.dtype)


def _part(views: Views, reads: Reads) -> Any:
    """Return what a rule reads of the views."""
    if reads == "views":
        return views
    part = getattr(views, reads)
    if part is None:
        raise ValueError(
            "reads='features' needs a split model: Equivariant(backbone, ..., head=head)"
        )
    return part


def _mean(views: Views, weights: Tensor | None = None) -> Any:
    """Return the mean of every tensor of `views.undone`."""
    return map_tree(lambda leaf: average(leaf, weights), views.undone)


def _check_reads(reads: str, known: tuple[str, ...]) -> None:
    if reads not in known:
        choices = ", ".join(repr(name) for name in known[:-1])
        raise ValueError(f"reads={reads!r} is unknown: choose {choices} or {known[-1]!r}")


def _check_loss(loss_fn: object) -> None:
    check_function("loss_fn", loss_fn, "losses.entropy")


class Uniform(Weighting):
    """The plain mean of all views: equitune, Eq. 1."""

    def forward(self, views: Views) -> Any:
        """Return the mean of `views.undone`, [B, ...]."""
        return _mean(views)

    def weigh(self, views: Views) -> Weighed:
        """Return the mean; all weights are 1 / |G|."""
        shape = views.inputs.shape[:2]
        weights = torch.full(shape, 1 / shape[0], device=views.inputs.device)
        return Weighed(self(views), weights, weights)


class Identity(Weighting):
    """The view of the identity alone: the pretrained model."""

    def __init__(self, group: FiniteGroup) -> None:
        """Store the group; its identity need not be element 0.

        Raises:
            TypeError: If it is no group.
        """
        super().__init__()
        check_group(group)
        self.group = group
        self.element = group.identity

    def forward(self, views: Views) -> Any:
        """Return the identity's entry of `views.undone`, [B, ...]."""
        return map_tree(lambda leaf: leaf[self.element], views.undone)

    def weigh(self, views: Views) -> Weighed:
        """Return the identity's entry; its weight is 1, that of others 0."""
        weights = torch.zeros(views.inputs.shape[:2], device=views.inputs.device)
        weights[self.element] = 1
        return Weighed(self(views), weights, weights)


class Select(Weighting):
    """The view of least proxy loss: equizero, Eq. 2.

    With ties="first" the result is equivariant only where the minimiser is unique.
    """

    loss_fn: Callable[[Any], Tensor]

    def __init__(
        self,
        loss_fn: Callable[[Any], Tensor],
        ties: Ties = "first",
        straight_through: Literal["identity", "mean"] | None = None,
        group: FiniteGroup | None = None,
        tolerance: float = 0.0,
        reads: Reads = "outputs",
    ) -> None:
        """Keep the options.

        Args:
            loss_fn: Maps raw outputs [G, B, ...] to a loss per view [G, B], lower is better; see
                `equitune.losses`. It runs without gradient and is not part of the state dict. If
                it is a module, `eval()` reaches it and `train()` does not.
            ties: "first" (default) or "average"; see `equitune.averaging.select`.
            straight_through: Where gradients go (Section 3.2): None, to the chosen view (default);
                "identity", to M(x); "mean", to the equitune mean M_G(x), which the paper prefers.
            group: The group; needed with straight_through="identity" only. Default None.
            tolerance: With ties="average", losses this close count as ties. Default 0.
            reads: What loss_fn is called with: the "outputs" M(gx) (default), the "inputs" gx, as
                for a canonicalization network, the "features" of a split model, each [G, B, ...],
                or the `Views` that hold them all. The loss of a view must depend on no other view
                and on no place in the group, or the result is not equivariant.

        Raises:
            TypeError: If loss_fn is no function.
            ValueError: If an option is unknown, or the group is missing.
        """
        super().__init__()
        _check_loss(loss_fn)
        _check_reads(reads, get_args(Reads))
        if ties not in ("first", "average"):
            raise ValueError(f"ties={ties!r} is unknown: choose 'first' or 'average'")
        if straight_through not in (None, "identity", "mean"):
            raise ValueError(
                f"straight_through={straight_through!r} is unknown: "
                "choose None, 'identity' or 'mean'"
            )
        if straight_through == "identity" and group is None:
            raise ValueError("straight_through='identity' needs the group, to know its identity")
        if group is not None:
            check_group(group)
        self.group = group
        self.ties = ties
        self.straight_through = straight_through
        self.tolerance = tolerance
        self.reads = reads
        self._add_helper("loss_fn", loss_fn)

    def forward(self, views: Views) -> Any:
        """Return the chosen entries of `views.undone`, [B, ...].

        Raises:
            ValueError: If the loss has not shape [G, B].
        """
        return self._combine(views, self._loss(views))

    def weigh(self, views: Views) -> Weighed:
        """Return the choice; the weights are 1 at the chosen view, shared by ties if averaged."""
        loss = self._loss(views)
        output = self._combine(views, loss)
        order, batch = loss.shape
        # Whoever chooses among the rows of the unit matrix finds the weights of the choice.
        rows = torch.eye(order, device=loss.device)[:, None].expand(order, batch, order)
        return Weighed(output, self._select(rows, loss).value.T, -loss)

    @torch.no_grad()
    def _loss(self, views: Views) -> Tensor:
        return self.loss_fn(_part(views, self.reads))

    def _select(self, tree: Any, loss: Tensor) -> Selected:
        return select(tree, loss, self.ties, self.tolerance)

    def _combine(self, views: Views, loss: Tensor) -> Any:
        if self.straight_through is None or not torch.is_grad_enabled():
            return self._select(views.undone, loss).value
        # As its gradient is replaced, autograd need not see the choice.
        undone = map_tree(lambda leaf: leaf.detach(), views.undone)
        chosen = self._select(undone, loss).value
        if self.group is not None and self.straight_through == "identity":
            element = self.group.identity
            return map_tree(lambda a, b: straight_through(a, b[element]), chosen, views.undone)
        return map_tree(lambda a, b: straight_through(a, average(b)), chosen, views.undone)


class SoftSelect(Weighting):
    """A mean with weights softmax(-loss / temperature): a differentiable equizero."""

    loss_fn: Callable[[Any], Tensor]

    def __init__(
        self, loss_fn: Callable[[Any], Tensor], temperature: float, reads: Reads = "outputs"
    ) -> None:
        """Keep the options.

        Args:
            loss_fn: Maps raw outputs [G, B, ...] to a loss per view [G, B], lower is better.
                Gradients flow through it. It is not part of the state dict. If it is a module,
                `eval()` reaches it and `train()` does not.
            temperature: Positive, in the unit of the loss.
            reads: What loss_fn is called with; as for `Select`. Default "outputs".

        Raises:
            TypeError: If loss_fn is no function.
            ValueError: If temperature is not positive, or reads is unknown.
        """
        super().__init__()
        _check_loss(loss_fn)
        _check_reads(reads, get_args(Reads))
        check_temperature(temperature)
        self.temperature = temperature
        self.reads = reads
        self._add_helper("loss_fn", loss_fn)

    def forward(self, views: Views) -> Any:
        """Return the weighted mean of `views.undone`, [B, ...].

        Raises:
            ValueError: If the loss has not shape [G, B].
        """
        return self.weigh(views).output

    def weigh(self, views: Views) -> Weighed:
        """Return the weighted mean and its weights."""
        loss = self.loss_fn(_part(views, self.reads))
        weights = soft_select_weights(loss, self.temperature)
        return Weighed(_mean(views, weights), weights, -loss)


class Learned(Weighting):
    """A mean with weights from a network on features of gx: lambda-equitune, Eq. 4."""

    features: Callable[[Any], Tensor] | None

    def __init__(
        self,
        net: nn.Module,
        features: Callable[[Any], Tensor] | None = None,
        frozen: bool = True,
        reads: Literal["inputs", "outputs", "features"] = "inputs",
    ) -> None:
        """Keep the network and the features.

        Args:
            net: Maps features [N, F] to positive weights [N] (or [N, T] for one per token); see
                `equitune.weights.LambdaNet`. Its parameters are part of the state dict.
            features: Maps what is read [N, ...] to features [N, F]. It is not given the further
                arguments of the model, such as an attention mask: read the "outputs" or "features"
                where it needs them. Default None: inputs are flattened, others are taken as they
                are.
            frozen: Run `features` without gradient and keep it, if it is a module, out of the
                parameters and the state dict; `eval()` reaches it and `train()` does not. No
                gradient then goes through lambda into the model's own outputs or features. Default
                True.
            reads: What is read: the "inputs" gx (default), for which `features` may be a second
                encoder; the model's own "outputs" M(gx), or the "features" of a split model, both
                of which cost no second pass. N = G * B views, as the model had them.

        Raises:
            TypeError: If net is no module, or features no function.
            ValueError: If reads is unknown.
        """
        super().__init__()
        _check_reads(reads, ("inputs", "outputs", "features"))
        check_kind("net", net, nn.Module, "a module, as LambdaNet(8) is")
        if isinstance(features, type) or not (features is None or callable(features)):
            raise TypeError(
                f"features must be a function or a module, got {described(features)}; the model's "
                "own outputs are Learned(net, reads='outputs')"
            )
        self.net = net
        self.frozen = frozen
        self.reads: Reads = reads
        if frozen:
            self._add_helper("features", features)
        else:
            self.features = features

    def forward(self, views: Views) -> Any:
        """Return the weighted mean of `views.undone`, [B, ...]."""
        return _mean(views, self._weights(views))

    def weigh(self, views: Views) -> Weighed:
        """Return the weighted mean and its weights."""
        raw = self._weights(views)
        weights = raw / raw.sum(dim=0, keepdim=True)
        return Weighed(_mean(views, raw), weights, weights)

    def _weights(self, views: Views) -> Tensor:
        """Return lambda(gx) as the network gives it, [G, B, ...]."""
        part = _part(views, self.reads)
        features = self._features_of(map_tree(lambda x: x.flatten(0, 1), part))
        if not isinstance(features, Tensor):
            raise TypeError(
                f"the network of Learned reads a tensor [N, F], got {described(features)}: give "
                "features=, a function that takes it out"
            )
        weights: Tensor = self.net(features)
        return weights.reshape(*views.inputs.shape[:2], *weights.shape[1:])

    def _features_of(self, flat: Any) -> Any:
        if self.features is None and self.reads == "inputs":
            return flat.flatten(1)
        if self.frozen:
            flat = map_tree(lambda x: x.detach(), flat)
        if self.features is None:
            return flat
        with torch.no_grad() if self.frozen else nullcontext():
            return self.features(flat)
