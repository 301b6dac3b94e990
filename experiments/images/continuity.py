"""The largest jump of a network along lines between images: is it a continuous function?

A choice among views cannot be continuous, a mean with continuous weights can (Dym et al., 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.frame.seeds import derive
from experiments.images.extraction import watched

if TYPE_CHECKING:
    from experiments.frame.records import Run

#: Pairs of images, at most.
PAIRS = 16
#: Into how many parts an interval is divided, and how often: the last is 4^-18 = 1.5e-11 of a line.
PARTS, ZOOMS = 4, 18
#: Purpose of the generator that draws the pairs.
PAIRING = 43


@torch.inference_mode()
def largest_jump(
    run: Run,
    network: nn.Module,
    images: Float[Tensor, "batch 3 size size"],
    action: equitune.Action,
    seed: int,
) -> float:
    """Return the largest change of the probabilities over a tiny part of a line between two images.

    Each line goes from an image to another that is moved by an element of the group, but the
    identity: where a view is chosen, the choice must change in between. The part with the largest
    change is divided again and again, `ZOOMS` times. What is found is a lower bound.

    Args:
        run: The run in progress.
        network: Maps images to logits, or to the logarithms of probabilities, [B, K], in evaluation
            mode; it is changed to double precision.
        images: Preprocessed images.
        action: The action of the group on images.
        seed: Seed of the pairs and the elements.

    Returns:
        The total variation distance between the ends of the last part, which is `PARTS` **
        -`ZOOMS` of the line. It is near 0 for a continuous network, up to 1 for others.

    Raises:
        Interrupted: If the process was asked to stop; checked after every division.
    """
    network, starts = network.double(), images[:PAIRS].double()
    steps = _partners(starts, action, seed) - starts
    rows = torch.arange(len(starts))
    low, width = torch.zeros(len(rows), dtype=torch.float64), 1.0
    total = len(rows) * (2 + ZOOMS * (PARTS - 1))
    with watched(run, f"jumps of {run.folder.name}", total, "begins again") as watch:
        look = watch(network)

        def probabilities(at: Tensor) -> Tensor:
            points = starts[:, None] + at[..., None, None, None] * steps[:, None]
            return torch.unflatten(look(points.flatten(0, 1)).softmax(dim=-1), 0, at.shape)

        ends = probabilities(torch.tensor([[0.0, 1.0]]).double().expand(len(rows), 2))
        for _ in range(ZOOMS):
            width /= PARTS
            between = probabilities(low[:, None] + width * torch.arange(1, PARTS))
            found = torch.cat([ends[:, :1], between, ends[:, 1:]], dim=1)
            change, part = found.diff(dim=1).abs().sum(dim=-1).div(2).max(dim=1)
            low = low + width * part
            ends = torch.stack([found[rows, part], found[rows, part + 1]], dim=1)
    return float(change.max())


def _partners(
    images: Float[Tensor, "batch 3 size size"], action: equitune.Action, seed: int
) -> Float[Tensor, "batch 3 size size"]:
    """Return another image for each, moved by an element of the group."""
    generator = torch.Generator().manual_seed(derive(seed, PAIRING))
    others = [g for g in range(action.group.order) if g != action.group.identity]
    drawn = torch.randint(len(others), (len(images),), generator=generator)
    moved = [
        action.act(others[int(element)], image[None])
        for element, image in zip(drawn, images.roll(1, dims=0), strict=True)
    ]
    return torch.cat(moved)
