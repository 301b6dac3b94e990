"""The equivariance error of a whole network, computed from images, one pass per view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import equitune
from experiments.images.extraction import Network, watched
from experiments.images.symmetries import make_action

if TYPE_CHECKING:
    from experiments.frame.records import Run

#: In a trial, one image in so many is checked, as the check needs more passes per image.
ONE_IN = 8


def checked(sample: UInt8[Tensor, "k 3 s s"], max_images: int | None) -> UInt8[Tensor, "few 3 s s"]:
    """Return the images for the equivariance check: only a few in a trial.

    Args:
        sample: The stored pixels.
        max_images: The number of images of a trial; None: no trial.
    """
    return sample if max_images is None else sample[: max(1, max_images // ONE_IN)]


@torch.inference_mode()
def equivariance_error(
    run: Run, network: Network, inputs: Float[Tensor, "batch 3 size size"], group: str
) -> float:
    """Return the equivariance error of a network on some images; see `equitune`.

    Args:
        run: The run in progress.
        network: The network in evaluation mode; the group does not act on its outputs.
        inputs: Preprocessed images.
        group: Name of the group.

    Raises:
        Interrupted: If the process was asked to stop; checked after every group element.
    """
    action = make_action(group)
    total = action.group.order * len(inputs)
    with watched(run, f"equivariance of {run.folder.name}", total, "begins again") as watch:
        once = Remembering(watch(network))  # the first is e x = x
        return equitune.equivariance_error(once, inputs, action, equitune.Invariant(action.group))


class Remembering:
    """A network with a cache of its last outputs, for two equal calls in a row."""

    def __init__(self, network: Network) -> None:
        """Start with an empty cache."""
        self.network = network
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        if self._last is None or not torch.equal(self._last[0], inputs):
            self._last = inputs, self.network(inputs)
        return self._last[1]


def multiply_adds(network: Network, inputs: Tensor) -> int:
    """Return the multiply-adds of convolutions and products of matrices in a pass of a network."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return int(counter.get_total_flops()) // 2
