"""The last two layers, and how the logits of an orbit become one (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.frame.methods import Parts, find_method

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    # The largest probability is increasing in its log-odds, which do not saturate.
    "max_probability": partial(equitune.losses.max_probability, log_odds=True),
    "entropy": equitune.losses.entropy,
    "reversed_max_probability": lambda y: -equitune.losses.max_probability(y, log_odds=True),
}


class Head(nn.Module):
    """The last two layers: one linear map of the positions, shared by channels, one of channels."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        """Draw initial weights from the global generator.

        Args:
            shape: Of the features: channels C, height, width.
            classes: Number of classes K.
        """
        super().__init__()
        channels, height, width = shape
        self.positions = nn.Linear(height * width, 1)
        self.channels = nn.Linear(channels, classes)

    def forward(
        self, features: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch classes"]:
        """Return logits, [..., K]."""
        *batch, channels, height, width = features.shape
        # On matrices, which linear layers need not fold first.
        pooled = self.positions(features.reshape(-1, height * width)).view(-1, channels)
        logits: Tensor = self.channels(pooled).view(*batch, self.channels.out_features)
        return logits


def make_rule(
    method: str,
    group: equitune.FiniteGroup,
    loss: str | None = None,
    straight_through: str | None = None,
    net: nn.Module | None = None,
) -> equitune.Weighting:
    """Return how a method combines the views.

    Args:
        method: Its name.
        group: The group.
        loss: A key of `LOSSES`; None for a method that reads no loss.
        straight_through: Gradients of a choice in training, ``mean`` or ``identity``.
        net: Lambda, of a method that has one; it reads the flattened features.

    Raises:
        UserError: If there is no such method.
        ValueError: If the method needs a part that is not given.
    """
    through = cast("Literal['identity', 'mean'] | None", straight_through)
    chosen = None if loss is None else LOSSES[loss]
    return find_method(method).weighting(Parts(group, chosen, net, straight_through=through))


class Probe(nn.Module):
    """The layers that are learned on frozen features, and the method's rule."""

    def __init__(self, head: nn.Module, rule: equitune.Weighting) -> None:
        """Join the last two layers, or whatever classifies, and the rule."""
        super().__init__()
        self.head, self.rule = head, rule

    def forward(
        self, features: Float[Tensor, "group batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of M_G; the group leaves logits as they are."""
        logits = self.head(features)
        combined: Tensor = self.rule(equitune.Views(features, logits, logits))
        return combined
