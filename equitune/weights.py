"""The lambda network of lambda-equitune (Section 3, details in Section D.4)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from equitune._autocast import without_autocast
from equitune.kinds import check_whole

Positive = Literal["softplus", "exp", "none"]

FLOOR = 1e-12
"""Added to every positive weight, so that none is zero in float32 and their sum can divide."""

EXP_LIMIT = 60.0
"""Largest exponent of positive="exp"; e^60 summed over any group stays finite in float32."""


class LambdaNet(nn.Module):
    """Maps features of gx to a positive importance weight lambda(gx) of Eq. 4.

    Section D.4 describes two fully connected layers, a hidden width of 100 and a scalar output: the
    default. The authors' code has three linear layers, a ReLU after the first only, dropout 0.5
    behind both hidden layers, and no positivity: LambdaNet(n, depth=3, relus=1, dropout=0.5,
    positive="none"). With positive="exp" the normalised weights of Eq. 4 are a softmax over the
    group, as in the authors' CNN task.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int = 100,
        depth: int = 2,
        dropout: float = 0.0,
        positive: Positive = "softplus",
        relus: int | None = None,
    ) -> None:
        """Build the layers.

        Args:
            in_features: Size F of the feature vector.
            hidden: Width of the hidden layers, default 100.
            depth: Number of linear layers, default 2.
            dropout: Probability of dropout behind every hidden layer, default 0.
            positive: "softplus" (default) or "exp" of the last layer, both plus `FLOOR`; or "none",
                its raw output, which breaks the precondition of `average` that weights be positive.
            relus: Number of hidden layers, from the first, that end in a ReLU. Default: all.

        Raises:
            TypeError: If a size is no whole number.
            ValueError: If a size is below 1, dropout is outside [0, 1), relus is outside
                0 .. depth - 1, or positive is unknown.
        """
        super().__init__()
        for name, size in (("in_features", in_features), ("hidden", hidden), ("depth", depth)):
            check_whole(name, size)
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout} must lie in [0, 1)")
        if positive not in ("softplus", "exp", "none"):
            raise ValueError(f"positive={positive!r} is unknown: choose softplus, exp or none")
        relus = depth - 1 if relus is None else relus
        if not 0 <= relus <= depth - 1:
            raise ValueError(f"relus={relus} must lie in 0..{depth - 1} for depth={depth}")
        self.in_features = in_features
        self.positive = positive
        layers: list[nn.Module] = []
        width = in_features
        for layer in range(depth - 1):
            layers.append(nn.Linear(width, hidden))
            if layer < relus:
                layers.append(nn.ReLU())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch"]:
        """Return one weight for each feature vector.

        Args:
            features: Feature vectors, [..., F].

        Returns:
            Weights, [...], in the precision of the parameters, at least float32.

        Raises:
            TypeError: If the features are not floating point.
            ValueError: If their last dim is not F.
        """
        if not features.is_floating_point():
            raise TypeError(f"LambdaNet needs floating point features, got {features.dtype}")
        if features.ndim == 0 or features.shape[-1] != self.in_features:
            raise ValueError(
                f"LambdaNet expects features [..., {self.in_features}], "
                f"got shape {tuple(features.shape)}"
            )
        weight: Tensor = self.layers[0].weight  # type: ignore[assignment]
        # Autocast would round weights of nearly equal views to the same number.
        with without_autocast(weight.device):
            raw: Tensor = self.layers(features.to(weight.dtype)).squeeze(-1)
        # In float16 the floor would round to zero.
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        if self.positive == "softplus":
            raw = functional.softplus(raw) + FLOOR
        elif self.positive == "exp":
            raw = raw.clamp(max=EXP_LIMIT).exp() + FLOOR
        return raw
