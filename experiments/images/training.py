"""Training on upright images; it is independent of the network and the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from experiments.frame.machine import multiplies_bfloat16
from experiments.images.inputs import Preprocessing, augment
from experiments.training import Training

if TYPE_CHECKING:
    from experiments.images.options import TrainingRecipe
    from experiments.images.sets import ImageSet


class Trainer(Training[tuple[Tensor, Tensor]]):
    """Training by any gradient descent, on randomly shifted and mirrored images."""

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
        """Store the parts of a training.

        Args:
            network: The trained network, on its device; checkpoints hold its state.
            loss: Maps inputs, [B, 3, size, size], and their classes, [B], to a number; it may draw
                from the global generator.
            optimiser: The optimiser of the network's parameters.
            images: Upright training images; an incomplete last batch of an epoch is omitted.
            see: Preprocessing.
            recipe: The hyper-parameters.
            seed: Seed of order, augmentation and the loss's random numbers.
        """
        steps = max(1, len(images.labels) // recipe.batch_size)
        super().__init__(network, optimiser, recipe.epochs, steps, seed)
        self.loss, self.images, self.see, self.recipe = loss, images, see, recipe
        self.shorter = "task.pretrain.epochs makes it shorter" + slow(recipe.precision, self.device)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate at a step: linear warm-up, then cosine decay."""
        total = self.steps * self.recipe.epochs
        rise = self.recipe.warmup * total
        if step < rise:
            return self.recipe.learning_rate * (step + 1) / (rise + 1)
        share = (step - rise) / max(1, total - rise)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pixels and classes, with order, shifts and mirrors drawn for the epoch."""
        generator = torch.Generator().manual_seed(self.epoch_seed + 1)
        order = torch.randperm(len(self.images.labels), generator=generator)
        size, recipe = self.recipe.batch_size, self.recipe
        for rows in torch.split(order[: self.steps * size], size):
            pixels = augment(self.images.pixels[rows], recipe.crop, recipe.mirror, generator)
            yield pixels.to(self.device), self.images.labels[rows].to(self.device)

    def step(self, number: int, batch: tuple[Tensor, Tensor]) -> float:
        """Take a step at its learning rate; return the loss."""
        pixels, labels = batch
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(number)
        inputs = self.see(pixels).contiguous(memory_format=torch.channels_last)
        loss = self.loss(inputs, labels)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())


def precision(name: str, device: torch.device) -> torch.autocast:
    """Return a context that sets the precision of matrix products."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def slow(name: str, device: torch.device) -> str:
    """Return a note for messages if a device emulates a precision; otherwise an empty text."""
    if name != "bfloat16" or multiplies_bfloat16(device.type):
        return ""
    return f", and so does precision=auto: this {device.type} has no units for bfloat16"
