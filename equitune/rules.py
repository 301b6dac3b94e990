"""Weighting rules: how the views of an orbit are combined. Each is a lambda of Eq. 4.

The rules combine what `equitune.averaging` computes; they hold no mathematics of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from equitune.averaging import Ties, average, select, soft_select_weights, straight_through
from equitune.groups import FiniteGroup


class Views(NamedTuple):
    """The views of an orbit through a model.

    Attributes:
        inputs: gx, [G, B, ...].
        outputs: M(gx), the raw outputs that proxy losses judge, [G, B, ...].
        undone: g^-1 M(gx), the terms of Eq. 4, [G, B, ...].
    """

    inputs: Shaped[Tensor, "group batch ..."]
    outputs: Shaped[Tensor, "group batch ..."]
    undone: Shaped[Tensor, "group batch ..."]


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
    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the combined output, [B, ...]."""

    def _add_helper(self, name: str, helper: Any) -> None:
        """Keep a frozen callable out of parameters() and state_dict(), even if it is a module."""
        object.__setattr__(self, name, helper)
        self._helpers = (*self._helpers, helper)

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


class Uniform(Weighting):
    """The plain mean of all views: equitune, Eq. 1."""

    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the mean of `views.undone`, [B, ...]."""
        return average(views.undone)


class Identity(Weighting):
    """The view of the identity alone: the pretrained model."""

    def __init__(self, group: FiniteGroup) -> None:
        """Store the group; its identity need not be element 0."""
        super().__init__()
        self.group = group
        self.element = group.identity

    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the identity's entry of `views.undone`, [B, ...]."""
        return views.undone[self.element]


class Select(Weighting):
    """The view of least proxy loss: equizero, Eq. 2.

    With ties="first" the result is equivariant only where the minimiser is unique.
    """

    loss_fn: Callable[[Tensor], Tensor]

    def __init__(
        self,
        loss_fn: Callable[[Tensor], Tensor],
        ties: Ties = "first",
        straight_through: Literal["identity", "mean"] | None = None,
        group: FiniteGroup | None = None,
        tolerance: float = 0.0,
    ) -> None:
        """Keep the options.

        Args:
            loss_fn: Maps raw outputs [G, B, ...] to a loss per view [G, B], lower is better; see
                `equitune.losses`. It runs without gradient and is not part of the state dict.
            ties: "first" (default) or "average"; see `equitune.averaging.select`.
            straight_through: Where gradients go (Section 3.2): None, to the chosen view (default);
                "identity", to M(x); "mean", to the equitune mean M_G(x), which the paper prefers.
            group: The group; needed with straight_through="identity" only. Default None.
            tolerance: With ties="average", losses this close count as ties. Default 0.

        Raises:
            ValueError: If an option is unknown, or the group is missing.
        """
        super().__init__()
        if ties not in ("first", "average"):
            raise ValueError(f"ties={ties!r} is unknown: choose 'first' or 'average'")
        if straight_through not in (None, "identity", "mean"):
            raise ValueError(
                f"straight_through={straight_through!r} is unknown: "
                "choose None, 'identity' or 'mean'"
            )
        if straight_through == "identity" and group is None:
            raise ValueError("straight_through='identity' needs the group, to know its identity")
        self.group = group
        self.ties = ties
        self.straight_through = straight_through
        self.tolerance = tolerance
        self._add_helper("loss_fn", loss_fn)

    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the chosen entries of `views.undone`, [B, ...].

        Raises:
            ValueError: If the loss has not shape [G, B].
        """
        with torch.no_grad():
            loss = self.loss_fn(views.outputs)
        replaced = self.straight_through is not None and torch.is_grad_enabled()
        # Where its gradient is replaced, autograd need not see the choice.
        undone = views.undone.detach() if replaced else views.undone
        chosen: Tensor = select(undone, loss, self.ties, self.tolerance).value
        if not replaced:
            return chosen
        if self.group is not None and self.straight_through == "identity":
            return straight_through(chosen, views.undone[self.group.identity])
        return straight_through(chosen, average(views.undone))


class SoftSelect(Weighting):
    """A mean with weights softmax(-loss / temperature): a differentiable equizero."""

    loss_fn: Callable[[Tensor], Tensor]

    def __init__(self, loss_fn: Callable[[Tensor], Tensor], temperature: float) -> None:
        """Keep the options.

        Args:
            loss_fn: Maps raw outputs [G, B, ...] to a loss per view [G, B], lower is better.
                Gradients flow through it. It is not part of the state dict.
            temperature: Positive, in the unit of the loss.

        Raises:
            ValueError: If temperature is not positive.
        """
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be positive")
        self.temperature = temperature
        self._add_helper("loss_fn", loss_fn)

    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the weighted mean of `views.undone`, [B, ...]."""
        weights = soft_select_weights(self.loss_fn(views.outputs), self.temperature)
        return average(views.undone, weights)


class Learned(Weighting):
    """A mean with weights from a network on features of gx: lambda-equitune, Eq. 4."""

    features: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        net: nn.Module,
        features: Callable[[Tensor], Tensor] | None = None,
        frozen: bool = True,
    ) -> None:
        """Keep the network and the features.

        Args:
            net: Maps features [N, F] to positive weights [N] (or [N, T] for one per token); see
                `equitune.weights.LambdaNet`. Its parameters are part of the state dict.
            features: Maps inputs [N, ...] to features [N, F]. Default None: the flattened input.
            frozen: Run `features` without gradient and keep it, if it is a module, out of the
                parameters and the state dict. Train or evaluation mode is then not passed on to it
                either: put it in evaluation mode yourself. Default True.
        """
        super().__init__()
        self.net = net
        self.frozen = frozen
        if frozen:
            self._add_helper("features", features)
        else:
            self.features = features

    def forward(self, views: Views) -> Shaped[Tensor, "batch ..."]:
        """Return the weighted mean of `views.undone`, [B, ...]."""
        flat = views.inputs.flatten(0, 1)
        weights: Tensor = self.net(self._features_of(flat))
        return average(views.undone, weights.reshape(*views.inputs.shape[:2], *weights.shape[1:]))

    def _features_of(self, flat: Tensor) -> Tensor:
        if self.features is None:
            return flat.flatten(1)
        if not self.frozen:
            return self.features(flat)
        with torch.no_grad():
            return self.features(flat)
