"""The last two layers, and the rules that combine the logits of an orbit (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.frame.methods import Parts, find_method
from experiments.images.fits import UNFITTED, Fitted

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    # The log-odds grow with the largest probability, and do not saturate.
    "max_probability": partial(equitune.losses.max_probability, log_odds=True),
    "entropy": equitune.losses.entropy,
    "energy": equitune.losses.energy,
    "reversed_max_probability": lambda y: -equitune.losses.max_probability(y, log_odds=True),
}


class Head(nn.Module):
    """The last two layers: a linear map of positions, equal for all channels; one of channels."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        """Draw initial weights from the global generator.

        Args:
            shape: Shape of the features: channels C, height, width.
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
        # As matrices, which linear layers do not need to reshape.
        pooled = self.positions(features.reshape(-1, height * width)).view(-1, channels)
        logits: Tensor = self.channels(pooled).view(*batch, self.channels.out_features)
        return logits


class Features(nn.Module):
    """The backbone without its last layers."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Tensor:
        """Return the features, [B, C, h, w]."""
        return self.backbone.features(images)


class OwnHead(nn.Module):
    """The backbone's original last layers, on features with any number of leading dims."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, features: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch classes"]:
        """Return logits."""
        logits = self.backbone.classify(features.flatten(0, -4))
        return logits.reshape(*features.shape[:-3], -1)


def make_rule(
    method: str,
    group: equitune.FiniteGroup,
    loss: str | None = None,
    straight_through: str | None = None,
    net: nn.Module | None = None,
    fitted: Fitted = UNFITTED,
) -> equitune.Weighting:
    """Return the rule that combines the views for a method.

    Args:
        method: Name of the method.
        group: The group.
        loss: A key of `LOSSES`; None for a method that reads no loss.
        straight_through: Gradients of a choice in training, ``mean`` or ``identity``.
        net: The network lambda, on flattened features; None for methods without it.
        fitted: What the method has learned in stage=lambda, instead of ``net``.

    Raises:
        UserError: If there is no such method.
        ValueError: If the method needs a part that is not given.
    """
    chosen = None if loss is None else LOSSES[loss]
    parts = Parts(
        group,
        chosen,
        fitted.net or net,
        flat,
        straight_through,
        fitted.temperature,
        fitted.rank,
        reads="features",
    )
    return find_method(method).weighting(parts)


def flat(features: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n width"]:
    """Return what lambda reads of the features of views: all."""
    return features.flatten(1)


class Probe(nn.Module):
    """The trained layers on frozen features, and the rule of the method."""

    def __init__(self, head: nn.Module, rule: equitune.Weighting) -> None:
        """Combine the last layers, or another classifier, with the rule."""
        super().__init__()
        self.head, self.rule = head, rule

    def forward(
        self, features: Float[Tensor, "group batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of M_G; the group does not act on logits."""
        logits = self.head(features)
        combined: Tensor = self.rule(equitune.Views(features, logits, logits, features))
        return combined
