"""Resumable training: its state, and the loop over epochs."""

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
#: Steps between two checks of signals.
LOOK_EVERY = 20


class _Stop(Exception):
    """An epoch is stopped in the middle; it starts again next time."""


class Training(ABC, Generic[BatchT]):
    """A gradient training by epochs, with a state that can be stored.

    All random numbers of an epoch depend only on the seed and the epoch's number, so a stopped and
    resumed training has the same result.

    Attributes:
        epoch: Number of finished epochs.
        shorter: Advice to show if it takes long.
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
        """Set up.

        Args:
            network: The trained network, on its device; checkpoints hold its state.
            optimiser: The optimiser of the network's parameters.
            epochs: Number of epochs.
            steps: Number of steps per epoch.
            seed: Seed of all random numbers.
        """
        self.network, self.optimiser, self.seed = network, optimiser, seed
        self.epochs, self.steps, self.epoch = epochs, steps, 0
        self.device = next(network.parameters()).device

    @abstractmethod
    def batches(self) -> Iterable[BatchT]:
        """Yield the batches of the current epoch."""

    @abstractmethod
    def step(self, number: int, batch: BatchT) -> float:
        """Take the step of this number, counted from the first epoch; return the loss.

        It may draw from the global generator.
        """

    @property
    def epoch_seed(self) -> int:
        """One even seed per run seed and epoch, far from each other."""
        return (self.seed * 1_000_003 + self.epoch) * 2

    def train_epoch(self, look: Callable[[int], None]) -> float:
        """Train for one epoch; return the mean loss.

        Args:
            look: Called after every step with the total number of steps.
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
        """Return the full state of the training."""
        return pack(self.network, self.optimiser), {"epoch": self.epoch}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a stored state."""
        unpack(tensors, self.network, self.optimiser)
        self.epoch = int(facts["epoch"])


def train(training: Training[BatchT], run: Run, label: str) -> list[float]:
    """Train to the end, from the run's last checkpoint if there is one.

    Args:
        training: The training.
        run: The run in progress, which stores a checkpoint after every epoch.
        label: Label of the progress bar.

    Returns:
        The mean loss of every epoch.

    Raises:
        Interrupted: If the process was asked to stop; the current epoch starts again next time.
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
    """Return the weights and the optimiser's state of each, for resuming."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, parameter in enumerate(network.parameters()):
        for name, value in optimiser.state[parameter].items():
            if value is not None:
                tensors[f"optimiser.{index}.{name}"] = value
    return tensors


def unpack(
    tensors: dict[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Restore the result of `pack`."""
    network.load_state_dict(part(tensors, "network."))
    for index, parameter in enumerate(network.parameters()):
        begin = f"optimiser.{index}."
        for key in (key for key in tensors if key.startswith(begin)):
            name, kept = key.removeprefix(begin), tensors[key]
            # AdamW may count steps on any device; its other state is on the parameter's device.
            own = kept if name == "step" else torch.empty_like(parameter).copy_(kept)
            optimiser.state[parameter][name] = own


def is_finite(network: nn.Module) -> bool:
    """Whether all weights are finite."""
    return all(bool(p.isfinite().all()) for p in network.parameters())
