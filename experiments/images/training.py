"""Training on upright images; it knows neither the network nor what it minimises."""

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
    """Stochastic gradient descent of any kind, on images that are shifted and mirrored."""

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
            images: What to learn, upright; those that do not fill a batch wait for the next epoch.
            see: What the network sees of them.
            recipe: The hyper-parameters.
            seed: Of order, augmentation and what the loss draws.
        """
        steps = max(1, len(images.labels) // recipe.batch_size)
        super().__init__(network, optimiser, recipe.epochs, steps, seed)
        self.loss, self.images, self.see, self.recipe = loss, images, see, recipe
        self.shorter = "task.pretrain.epochs makes it shorter" + slow(recipe.precision, self.device)

    def learning_rate(self, step: int) -> float:
        """Return the rate at a step of the whole training: up in a line, down in a cosine."""
        total = self.steps * self.recipe.epochs
        rise = self.recipe.warmup * total
        if step < rise:
            return self.recipe.learning_rate * (step + 1) / (rise + 1)
        share = (step - rise) / max(1, total - rise)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pixels and classes, in an order and with shifts and mirrors of the epoch's own."""
        generator = torch.Generator().manual_seed(self.epoch_seed + 1)
        order = torch.randperm(len(self.images.labels), generator=generator)
        size, recipe = self.recipe.batch_size, self.recipe
        for rows in torch.split(order[: self.steps * size], size):
            pixels = augment(self.images.pixels[rows], recipe.crop, recipe.mirror, generator)
            yield pixels.to(self.device), self.images.labels[rows].to(self.device)

    def step(self, number: int, batch: tuple[Tensor, Tensor]) -> float:
        """Take a step at the rate of its number; returns the loss."""
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
    """Return the context in which matrix products have a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def slow(name: str, device: torch.device) -> str:
    """Return what to say of a precision that a device emulates; nothing of another one."""
    if name != "bfloat16" or multiplies_bfloat16(device.type):
        return ""
    return f", and so does precision=auto: this {device.type} has no units for bfloat16"
