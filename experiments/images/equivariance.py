"""How far a whole network is from equivariance: nothing stored is read, every view is a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

import equitune
from experiments.images.extraction import Network, watched
from experiments.images.symmetries import make_action

if TYPE_CHECKING:
    from experiments.frame.records import Run

#: One image in so many of a trial is checked: each takes more passes than its features did.
ONE_IN = 8


def checked(sample: UInt8[Tensor, "k 3 s s"], max_images: int | None) -> UInt8[Tensor, "few 3 s s"]:
    """Return the images that equivariance is checked on: a handful in a trial.

    Args:
        sample: The pixels that are kept.
        max_images: The number of images of a trial; None: no trial.
    """
    return sample if max_images is None else sample[: max(1, max_images // ONE_IN)]


@torch.inference_mode()
def equivariance_error(
    run: Run, network: Network, inputs: Float[Tensor, "batch 3 size size"], group: str
) -> float:
    """Return how far the outputs change when a group acts on the inputs (see `equitune`'s).

    Args:
        run: The run in progress.
        network: In evaluation mode; the group leaves its outputs as they are.
        inputs: What it sees of some images.
        group: Name of the group.

    Raises:
        Interrupted: If the process was asked to stop; looked at between two elements of the group.
    """
    action = make_action(group)
    total = action.group.order * len(inputs)
    with watched(run, f"equivariance of {run.folder.name}", total, "begins again") as watch:
        once = Remembering(watch(network))  # e x comes first, and is x
        return equitune.equivariance_error(once, inputs, action, equitune.Invariant(action.group))


class Remembering:
    """A network that is asked for the same outputs twice in a row, and computes them once."""

    def __init__(self, network: Network) -> None:
        """Remember nothing yet."""
        self.network = network
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        if self._last is None or not torch.equal(self._last[0], inputs):
            self._last = inputs, self.network(inputs)
        return self._last[1]
