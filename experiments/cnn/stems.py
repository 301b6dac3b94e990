"""Networks in two parts: the stem sees all views of an image, the rest the chosen one alone."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.cnn.heads import Features
from experiments.images.equivariance import multiply_adds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from experiments.cnn.backbones import Backbone

#: Side of the grid on which the maps of a stem are averaged, for the choice, at most.
GRID = 4
#: Numbers that the choice reads of a stem's maps, at most: with more channels the grid is coarser.
NUMBERS = 2048
#: Channels of the layers of `ImageLambda`.
CHANNELS = (16, 32, 32)


class Cut(nn.Module):
    """A backbone as stem and rest; in evaluation mode, the two chained give its features.

    The cut is the one between two layers or blocks whose share of the work is the nearest.

    Attributes:
        stem: Maps images, [B, 3, S, S], to maps, [B, C, H, W].
        rest: Maps these to the features that the classifier reads.
        share: The stem's share of the multiply-adds of the backbone and its own classifier.
    """

    def __init__(self, backbone: Backbone, wanted: float) -> None:
        """Cut a backbone.

        Args:
            backbone: One of `experiments.cnn.cifar_nets`; with 0, any.
            wanted: Share of the stem, below 1; 0: the stem is empty.
        """
        super().__init__()
        self.stem: nn.Module = nn.Identity()
        self.rest: nn.Module = Features(backbone)
        self.share = 0.0
        if wanted == 0:
            return
        steps, shares = list(_steps(backbone.model)), _shares(backbone)
        # Layers without work, as ReLUs and pooling, belong to the layer before.
        number = min(range(len(steps)), key=lambda last: (abs(shares[last] - wanted), -last))
        self.share = shares[number]
        self.stem = nn.Sequential(*steps[: number + 1])
        self.rest = nn.Sequential(*steps[number + 1 :])

    def seen(self, maps: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n width"]:
        """Return what the choice reads of the output of the stem: averages, or a whole image."""
        return maps.flatten(1) if self.share == 0 else pooled(maps).flatten(1)


def pooled(maps: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n channels grid grid"]:
    """Return maps averaged on a small grid, as they are stored."""
    side = max(1, min(GRID, isqrt(NUMBERS // maps.shape[1])))
    return functional.adaptive_avg_pool2d(maps, side)


def _steps(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers and blocks between which a network can be cut, without its classifier."""
    for child in list(model.children())[:-1]:
        yield from child if isinstance(child, nn.Sequential) else [child]


def _shares(backbone: Backbone) -> list[float]:
    """Return the share of all multiply-adds that is done after each step."""
    maps = torch.zeros(1, 3, backbone.size, backbone.size)
    total, done, found = multiply_adds(backbone, maps), 0, []
    for step in _steps(backbone.model):
        done += multiply_adds(step, maps)
        with torch.inference_mode():
            maps = step(maps)
        found.append(done / total)
    return found


class ImageLambda(equitune.LambdaNet):
    """Lambda behind a small CNN: it reads images.

    Each of three convolutions is normalised; the first two halve the image. Their maps are averaged
    on a grid of `GRID` x `GRID`, which the layers of lambda read.
    """

    #: Numbers that the layers of lambda read.
    WIDTH = CHANNELS[-1] * GRID**2

    def __init__(self, *args: Any, **options: Any) -> None:
        """Build the layers; the arguments are those of `equitune.LambdaNet`."""
        super().__init__(*args, **options)
        layers: list[nn.Module] = []
        for inputs, channels, stride in zip((3, *CHANNELS), CHANNELS, (2, 2, 1), strict=False):
            convolution = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
        self.maps = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())

    def forward(self, features: Float[Tensor, "n pixels"]) -> Float[Tensor, " n"]:
        """Return one weight for each square image of three channels, flattened."""
        side = isqrt(features.shape[1] // 3)
        return super().forward(self.maps(torch.unflatten(features, 1, (3, side, side))))


class EarlyExit(nn.Module):
    """From images to logits: all views run through the stem, the chosen one through the rest."""

    def __init__(
        self, cut: Cut, action: equitune.Action, rule: equitune.Weighting, head: nn.Module
    ) -> None:
        """Put the parts together.

        Args:
            cut: The network.
            action: The action of the group on images.
            rule: Chooses one view by what `Cut.seen` returns, [G, B, F], which it reads as
                features.
            head: Maps features to logits.
        """
        super().__init__()
        self.cut, self.action, self.rule, self.head = cut, action, rule, head

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of the chosen views, [B, K]."""
        orbit = self.action.orbit(images)
        flat = self.cut.stem(orbit.flatten(0, 1))
        maps, seen = (x.unflatten(0, orbit.shape[:2]) for x in (flat, self.cut.seen(flat)))
        chosen = self.rule(equitune.Views(orbit, maps, maps, seen))
        logits: Tensor = self.head(self.cut.rest(chosen))
        return logits
