"""Training a classifier; the loop does not know its network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.cnn.inputs import Preprocessing, augment

if TYPE_CHECKING:
    from experiments.cnn.sections import PretrainRecipe
    from experiments.images.sets import ImageSet


class Trainer:
    """Stochastic gradient descent with momentum, epoch by epoch; its state can be kept.

    What chance does in an epoch depends on the seed and the number of the epoch alone, so a
    training that was stopped in between ends as it would have.
    """

    def __init__(
        self,
        network: nn.Module,
        images: ImageSet,
        see: Preprocessing,
        recipe: PretrainRecipe,
        seed: int,
        device: torch.device,
    ) -> None:
        """Set up the optimiser.

        Args:
            network: Maps [B, 3, size, size] to logits [B, K]; moved to the device.
            images: What to learn, upright.
            see: What the network sees of them.
            recipe: The hyper-parameters.
            seed: Of order, augmentation and dropout.
            device: Where to train.
        """
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images, self.see, self.recipe = images, see, recipe
        self.seed, self.device = seed, device
        self.epoch = 0
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )

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
            # Dropout draws from the global generator.
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
        with precision(self.recipe.precision, self.device):
            logits = self.network(inputs)
        smoothing = self.recipe.label_smoothing
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def _cuda(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the rest of the training depends on."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for index, parameter in enumerate(self.network.parameters()):
            momentum = self.optimiser.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{index}"] = momentum
        return tensors, {"epoch": self.epoch}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a kept state."""
        prefix = "network."
        self.network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        for index, parameter in enumerate(self.network.parameters()):
            if (momentum := tensors.get(f"momentum.{index}")) is not None:
                moved = torch.empty_like(parameter).copy_(momentum)
                self.optimiser.state[parameter]["momentum_buffer"] = moved
        self.epoch = int(facts["epoch"])


def precision(name: str, device: torch.device) -> torch.autocast:
    """Return the context in which matrix products have a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def _mix(seed: int, epoch: int) -> int:
    """Return one seed per seed and epoch, far from each other."""
    return (seed * 1_000_003 + epoch) * 2
