"""Training on upright images; the loop knows neither the network nor what it minimises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.frame.errors import Interrupted
from experiments.frame.machine import multiplies_bfloat16
from experiments.frame.progress import progress
from experiments.images.inputs import Preprocessing, augment

if TYPE_CHECKING:
    from experiments.frame.records import Run
    from experiments.images.options import TrainingRecipe
    from experiments.images.sets import ImageSet

#: Steps between two looks at signals.
LOOK_EVERY = 20


class _Stop(Exception):
    """An epoch is left in the middle; it begins again next time."""


class Trainer:
    """Stochastic gradient descent of any kind, epoch by epoch; its state can be kept.

    What chance does in an epoch depends on the seed and the number of the epoch alone, so a
    training that was stopped in between ends as it would have.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimiser: torch.optim.Optimizer,
        images: ImageSet,
        see: Preprocessing,
        recipe: TrainingRecipe,
        seed: int,
    ) -> None:
        """Keep what a training is made of.

        Args:
            network: What is trained, where it is trained; its state is kept.
            loss: Maps inputs, [B, 3, size, size], and their classes, [B], to a number; it may draw
                from the global generator.
            optimiser: Of the network's parameters.
            images: What to learn, upright.
            see: What the network sees of them.
            recipe: The hyper-parameters.
            seed: Of order, augmentation and what the loss draws.
        """
        self.network, self.loss, self.optimiser = network, loss, optimiser
        self.images, self.see, self.recipe, self.seed = images, see, recipe, seed
        self.device = next(network.parameters()).device
        self.epoch = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch; the images that do not fill a batch wait for the next one."""
        return max(1, len(self.images.labels) // self.recipe.batch_size)

    def learning_rate(self, step: int) -> float:
        """Return the rate at a step of the whole training: up in a line, down in a cosine."""
        total = self.steps * self.recipe.epochs
        rise = self.recipe.warmup * total
        if step < rise:
            return self.recipe.learning_rate * (step + 1) / (rise + 1)
        share = (step - rise) / max(1, total - rise)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def train_epoch(self, look: Callable[[int], None]) -> float:
        """Train for one epoch; returns the mean loss.

        Args:
            look: Is told the number of steps done in all, after every step.
        """
        self.network.train()
        total = 0.0
        with torch.random.fork_rng(devices=self._cuda()):
            # Dropout and losses draw from the global generator.
            torch.manual_seed(_mix(self.seed, self.epoch))
            for position, (inputs, labels) in enumerate(self._batches()):
                step = self.epoch * self.steps + position
                for group in self.optimiser.param_groups:
                    group["lr"] = self.learning_rate(step)
                total += self._step(inputs, labels)
                look(step + 1)
        self.epoch += 1
        return total / self.steps

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch) + 1)
        order = torch.randperm(len(self.images.labels), generator=generator)
        size, recipe = self.recipe.batch_size, self.recipe
        for rows in torch.split(order[: self.steps * size], size):
            pixels = augment(self.images.pixels[rows], recipe.crop, recipe.mirror, generator)
            yield pixels.to(self.device), self.images.labels[rows].to(self.device)

    def _step(self, pixels: Tensor, labels: Tensor) -> float:
        inputs = self.see(pixels).contiguous(memory_format=torch.channels_last)
        loss = self.loss(inputs, labels)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def _cuda(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the rest of the training depends on."""
        return pack(self.network, self.optimiser), {"epoch": self.epoch}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a kept state."""
        unpack(tensors, self.network, self.optimiser)
        self.epoch = int(facts["epoch"])


def pack(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return weights and what the optimiser keeps of each, to go on from."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, parameter in enumerate(network.parameters()):
        for name, value in optimiser.state[parameter].items():
            if value is not None:
                tensors[f"optimiser.{index}.{name}"] = value
    return tensors


def network_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights among what `pack` has returned."""
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def unpack(
    tensors: dict[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Put back what `pack` has returned."""
    network.load_state_dict(network_of(tensors))
    for index, parameter in enumerate(network.parameters()):
        begin = f"optimiser.{index}."
        for key in (key for key in tensors if key.startswith(begin)):
            name, kept = key.removeprefix(begin), tensors[key]
            # AdamW counts steps where it likes; the rest lies beside the parameter.
            own = kept if name == "step" else torch.empty_like(parameter).copy_(kept)
            optimiser.state[parameter][name] = own


def train(trainer: Trainer, run: Run, label: str) -> list[float]:
    """Train to the end, from the run's last checkpoint if there is one.

    Args:
        trainer: The training.
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
        trainer.restore(tensors, facts)
    epochs = trainer.recipe.epochs
    shorter = "task.pretrain.epochs makes it shorter" + slow(
        trainer.recipe.precision, trainer.device
    )
    done, total = trainer.epoch * trainer.steps, epochs * trainer.steps
    with progress(label, total, done, shorter) as bar:

        def look(step: int) -> None:
            if step % LOOK_EVERY == 0:
                bar.update(step, f"loss {losses[-1]:.3f}" if losses else "")
                if run.should_checkpoint:
                    raise _Stop

        while trainer.epoch < epochs:
            try:
                losses.append(trainer.train_epoch(look))
            except _Stop:
                raise Interrupted(f"stopped on request; {run.folder.name} resumes") from None
            run.tracker.log({"loss": losses[-1]}, trainer.epoch)
            tensors, facts = trainer.state()
            run.checkpoint(tensors, facts | {"losses": losses})
    return losses


def precision(name: str, device: torch.device) -> torch.autocast:
    """Return the context in which matrix products have a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def slow(name: str, device: torch.device) -> str:
    """Return what to say of a precision that a device emulates; nothing of another one."""
    if name != "bfloat16" or multiplies_bfloat16(device.type):
        return ""
    return f", and so does precision=auto: this {device.type} has no units for bfloat16"


def _mix(seed: int, epoch: int) -> int:
    """Return one seed per seed and epoch, far from each other."""
    return (seed * 1_000_003 + epoch) * 2
