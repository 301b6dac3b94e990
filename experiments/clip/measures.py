"""Per-image measures of an evaluation, and their summaries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from experiments.clip.scoring import Scorer
from experiments.clip.training_data import TRANSFORM
from experiments.frame.seeds import derive
from experiments.images.orbit_data import TurnedImages, over_turns

#: Bins of the calibration error (Guo et al. 2017).
BINS = 15


class Outcomes(NamedTuple):
    """Per-image results, for one transform, [N], or for all, [R, N].

    Attributes:
        top1: Whether the best class is right, 0 or 1.
        top5: Whether one of the five best is right, 0 or 1.
        confidence: The largest probability.
        cross_entropy: Minus the log-probability of the right class, in nats.
    """

    top1: Float[Tensor, "*batch"]
    top5: Float[Tensor, "*batch"]
    confidence: Float[Tensor, "*batch"]
    cross_entropy: Float[Tensor, "*batch"]

    def at(self, turned: Int64[Tensor, " n"]) -> Outcomes:
        """Return the results of one transform of each image, [N]."""
        everything = torch.arange(len(turned))
        return Outcomes(*(value[turned, everything] for value in self))


def outcomes(scorer: Scorer, images: TurnedImages) -> Outcomes:
    """Return the results of every image in every transform, [R, N]."""

    def judge(views: Tensor, labels: Tensor) -> Tensor:
        # `Elementwise` maxima over the views do not sum to one.
        scores = scorer(views).log_softmax(dim=-1)
        best = scores.topk(min(5, scores.shape[-1]), dim=-1)
        right = best.indices == labels[:, None]
        surprise = functional.nll_loss(scores, labels, reduction="none")
        values = (right[:, 0], right.any(dim=-1), best.values[:, 0].exp(), surprise)
        return torch.stack([value.double() for value in values], dim=-1)

    return Outcomes(*over_turns(images, judge).unbind(dim=-1))


def drawn(
    draw: str, size: int | None, turns: int, count: int, seed: int
) -> Int64[Tensor, " count"]:
    """Return the transform that a seed draws for each image.

    Args:
        draw: ``image``: one transform per image; ``batch``: one per batch, in the data's order.
        size: Batch size.
        turns: Number R of transforms.
        count: Number of images.
        seed: Seed of the generator.
    """
    generator = torch.Generator().manual_seed(derive(seed, TRANSFORM))
    if draw == "image":
        return torch.randint(turns, (count,), generator=generator)
    assert size is not None
    each = torch.randint(turns, (-(-count // size),), generator=generator)
    return each.repeat_interleave(size)[:count]


def calibration_error(confidence: Float[Tensor, " n"], right: Float[Tensor, " n"]) -> float:
    """Return the expected calibration error, in percent (Guo et al. 2017, Eq. 5).

    Args:
        confidence: The largest probability of each image, [N].
        right: Whether its predicted class is right, [N].
    """
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64)
    gaps.index_add_(0, place, confidence.double() - right.double())
    return 100 * float(gaps.abs().sum() / len(confidence))
