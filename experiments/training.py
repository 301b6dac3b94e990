"""Trainings that can be stopped: what is kept of one, and the loop over its epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from experiments.frame.errors import Interrupted
from experiments.frame.files import part
from experiments.frame.progress import progress

if TYPE_CHECKING:
    from experiments.frame.records import Run

BatchT = TypeVar("BatchT")
#: Steps between two looks at signals.
LOOK_EVERY = 20


class _Stop(Exception):
    """An epoch is left in the middle; it begins again next time."""


class Training(ABC, Generic[BatchT]):
    """A training by gradients, epoch by epoch; its state can be kept.

    What chance does in an epoch depends on the seed and the number of the epoch alone, so a
    training that was stopped in between ends as it would have.

    Attributes:
        epoch: Number of epochs that are done.
        shorter: What to say where it takes long.
    """

    shorter: str

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        epochs: int,
        steps: int,
        seed: int,
    ) -> None:
        """Begin.

        Args:
            network: What is trained, where it is trained; its state is kept.
            optimiser: Of the network's parameters.
            epochs: How many there are.
            steps: Of an epoch.
            seed: Of all that chance does.
        """
        self.network, self.optimiser, self.seed = network, optimiser, seed
        self.epochs, self.steps, self.epoch = epochs, steps, 0
        self.device = next(network.parameters()).device

    @abstractmethod
    def batches(self) -> Iterable[BatchT]:
        """Yield the batches of the epoch in progress."""

    @abstractmethod
    def step(self, number: int, batch: BatchT) -> float:
        """Take a step, the one of this number from the beginning; returns the loss.

        It may draw from the global generator.
        """

    @property
    def epoch_seed(self) -> int:
        """One even seed per seed and epoch, far from each other."""
        return (self.seed * 1_000_003 + self.epoch) * 2

    def train_epoch(self, look: Callable[[int], None]) -> float:
        """Train for one epoch; returns the mean loss.

        Args:
            look: Is told the number of steps done in all, after every step.
        """
        self.network.train()
        total, done = 0.0, self.epoch * self.steps
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.epoch_seed)
            for number, batch in enumerate(self.batches(), start=done):
                total += self.step(number, batch)
                look(number + 1)
        self.epoch += 1
        return total / self.steps

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the rest of the training depends on."""
        return pack(self.network, self.optimiser), {"epoch": self.epoch}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a kept state."""
        unpack(tensors, self.network, self.optimiser)
        self.epoch = int(facts["epoch"])


def train(training: Training[BatchT], run: Run, label: str) -> list[float]:
    """Train to the end, from the run's last checkpoint if there is one.

    Args:
        training: The training.
        run: Keeps a checkpoint after every epoch.
        label: Of the progress bar.

    Returns:
        The mean loss of every epoch.

    Raises:
        Interrupted: If the process was asked to stop; the epoch in progress begins again.
    """
    losses: list[float] = []
    if (kept := run.resume()) is not None:
        tensors, facts = kept
        losses = list(facts["losses"])
        training.restore(tensors, facts)
    done, total = (count * training.steps for count in (training.epoch, training.epochs))
    with progress(label, total, done, training.shorter) as bar:

        def look(step: int) -> None:
            if step % LOOK_EVERY == 0:
                bar.update(step, f"loss {losses[-1]:.3f}" if losses else "")
                if run.should_checkpoint:
                    raise _Stop

        while training.epoch < training.epochs:
            try:
                losses.append(training.train_epoch(look))
            except _Stop:
                raise Interrupted(f"stopped on request; {run.folder.name} resumes") from None
            run.tracker.log({"loss": losses[-1]}, training.epoch)
            tensors, facts = training.state()
            run.checkpoint(tensors, facts | {"losses": losses})
    return losses


def pack(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return weights and what the optimiser keeps of each, to go on from."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, parameter in enumerate(network.parameters()):
        for name, value in optimiser.state[parameter].items():
            if value is not None:
                tensors[f"optimiser.{index}.{name}"] = value
    return tensors


def unpack(
    tensors: dict[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Put back what `pack` has returned."""
    network.load_state_dict(part(tensors, "network."))
    for index, parameter in enumerate(network.parameters()):
        begin = f"optimiser.{index}."
        for key in (key for key in tensors if key.startswith(begin)):
            name, kept = key.removeprefix(begin), tensors[key]
            # AdamW counts steps where it likes; the rest lies beside the parameter.
            own = kept if name == "step" else torch.empty_like(parameter).copy_(kept)
            optimiser.state[parameter][name] = own


def is_finite(network: nn.Module) -> bool:
    """Whether no weight has become infinite or not a number."""
    return all(bool(p.isfinite().all()) for p in network.parameters())
