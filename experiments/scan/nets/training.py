"""Batch-1 training from scratch: its specification in plain PyTorch, and the common interface.

`TorchTrainer` specifies one training iteration with autograd. The compiled trainers of
`experiments.scan.kernels` are tested against it and serve for long runs;
`experiments.scan.trainers` chooses.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from experiments.scan.nets.dropout import dropout_mask
from experiments.scan.nets.examples import Stream as Stream
from experiments.scan.nets.model import EncoderDecoder, Seq2Seq

logger = logging.getLogger(__name__)

ITERATION = "iteration"


class Trainer(Protocol):
    """One training run of one model, in any back end.

    Attributes:
        iteration: Number of iterations done.
    """

    iteration: int

    def run(self, stream: Stream, start: int, stop: int) -> Float[np.ndarray, " iterations"]:
        """Do iterations `start` to `stop - 1` of the stream.

        Args:
            stream: Examples and their order.
            start: First iteration; must equal `iteration`, as masks and Adam depend on it.
            stop: One past the last iteration.

        Returns:
            Loss of each iteration, `[stop - start]`.

        Raises:
            ValueError: If the range does not continue this run or exceeds the stream, or the
                stream does not fit the model.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the full training state: parameters, Adam moments, iteration number.

        Returns:
            Named tensors, the same names and shapes for every back end: `model.<name>`,
            `exp_avg.<name>`, `exp_avg_sq.<name>` and `iteration` (int64 scalar).
        """
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from the result of `state_dict`, bit for bit."""
        ...

    def export(self, model: EncoderDecoder) -> None:
        """Write the current parameters into `model`."""
        ...


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a training run.

    Attributes:
        lr: Learning rate of Adam.
        weight_decay: L2 penalty added to the clipped gradient, as in `torch.optim.Adam`.
        clip: Largest gradient norm, of encoder and decoder separately.
        dropout: Probability of dropping a unit of the decoder's word embedding.
        seed: Seed of the dropout masks.
        reduction: "sum" or "mean" of the negative log-likelihood over the positions used.
        optimizer_steps: Adam steps of the encoder per iteration; the decoder takes one step with so
            many times the learning rate. The authors' equizero has 2, as it passes the encoder's
            parameters to one optimiser twice, and the decoder's to two optimisers.
        betas: Decay rates of the moments of Adam.
        eps: Offset of the denominator of Adam.
    """

    lr: float = 1e-4
    weight_decay: float = 0.0
    clip: float = 5.0
    dropout: float = 0.0
    seed: int = 0
    reduction: str = "sum"
    optimizer_steps: int = 1
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


def check_range(
    trainer: Trainer, stream: Stream, start: int, stop: int, model: EncoderDecoder
) -> None:
    """Refuse a range or stream that does not continue the run; see `Trainer.run`."""
    if start != trainer.iteration:
        raise ValueError(f"start is {start} but {trainer.iteration} iterations have been done")
    if not start <= stop <= len(stream.samples):
        raise ValueError(f"stop is {stop}: choose {start}..{len(stream.samples)}")
    for name, words, size in (
        ("command", stream.commands, model.in_words),
        ("target", stream.targets, model.out_words),
    ):
        if words.min() < 0 or words.max() >= size:
            raise ValueError(f"{name} words must lie in 0..{size - 1}, found {words.max()}")
    longest = int(np.diff(stream.target_offsets).max())
    if longest > model.max_steps:
        raise ValueError(f"a target has {longest} words, the model decodes {model.max_steps}")


def sequence_loss(
    log_probs: Float[Tensor, "steps words"],
    target: Int[Tensor, " length"],
    reduction: str = "sum",
) -> Tensor:
    """Return the training loss of one sequence.

    Args:
        log_probs: Decoder output, as many rows as were decoded, `[steps, V]`.
        target: Action words, EOS included, `[length]`.
        reduction: "sum" (default) or "mean" over positions.

    Returns:
        Negative log-likelihood over the common positions, up to and including the first one
        whose most probable word is EOS.
    """
    steps = min(len(log_probs), len(target))
    ends = (log_probs[:steps].argmax(dim=1) == Seq2Seq.EOS).nonzero()
    if len(ends):
        steps = int(ends[0]) + 1
    return F.nll_loss(log_probs[:steps], target[:steps], reduction=reduction)


def decode_greedy(
    model: EncoderDecoder, command: Int[Tensor, " length"], masks: Float[Tensor, "max_steps width"]
) -> Float[Tensor, "steps words"]:
    """Decode one command with the model's (detached) argmax as input, with gradients.

    Args:
        model: The network.
        command: Word indices, EOS included, `[L]`.
        masks: Dropout factors of every step, `[max_steps, 2H]`.

    Returns:
        Log-probabilities up to and including the step that chose EOS, `[steps, V]`.
    """
    state: Any = model.encode(command[None])
    word = torch.tensor([model.SOS])
    rows = []
    for mask in masks:
        log_probs, state = model.step(state, word, mask[None])
        rows.append(log_probs[0])
        word = log_probs.detach().argmax(dim=1)
        if word.item() == model.EOS:
            break
    return torch.stack(rows)


class TorchTrainer:
    """The specification of a training iteration, with autograd; see `Trainer`."""

    def __init__(self, model: EncoderDecoder, settings: Settings) -> None:
        """Copy `model` and start two Adam optimisers, one per half of the network."""
        self.iteration = 0
        self.model = copy.deepcopy(model).train()
        self.settings = settings
        self._halves = [
            list(half.parameters()) for half in (self.model.encoder, self.model.decoder)
        ]
        #: Steps per iteration and learning rate of each half; see `Settings.optimizer_steps`.
        self._steps = (settings.optimizer_steps, 1)
        rates = (settings.lr, settings.lr * settings.optimizer_steps)
        self._optimizers = [
            torch.optim.Adam(
                half,
                lr=rate,
                betas=settings.betas,
                eps=settings.eps,
                weight_decay=settings.weight_decay,
            )
            for half, rate in zip(self._halves, rates, strict=True)
        ]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the run."""
        return next(self.model.parameters()).dtype

    def log_probs(self, stream: Stream, iteration: int) -> Float[Tensor, "steps words"]:
        """Return the decoder output of one iteration at the current parameters, differentiable."""
        command = torch.from_numpy(stream.command(iteration)).long()
        target = torch.from_numpy(stream.target(iteration)).long()
        model, width = self.model, 2 * self.model.hidden
        masks = torch.from_numpy(
            dropout_mask(
                self.settings.seed, iteration, model.max_steps, width, self.settings.dropout
            )
        ).to(self.dtype)
        if stream.teacher[iteration]:
            teacher_masks = masks[None, : len(target)]
            return model.forward_teacher(command[None], target[None], teacher_masks)[0]
        return decode_greedy(model, command, masks)

    def loss(self, stream: Stream, iteration: int) -> Tensor:
        """Return the loss of one iteration at the current parameters, differentiable."""
        target = torch.from_numpy(stream.target(iteration)).long()
        return sequence_loss(self.log_probs(stream, iteration), target, self.settings.reduction)

    def run(self, stream: Stream, start: int, stop: int) -> Float[np.ndarray, " iterations"]:
        """See `Trainer.run`."""
        check_range(self, stream, start, stop, self.model)
        losses = np.empty(stop - start)
        for index, iteration in enumerate(range(start, stop)):
            loss = self.loss(stream, iteration)
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            parts = zip(self._halves, self._optimizers, self._steps, strict=True)
            for half, optimizer, steps in parts:
                torch.nn.utils.clip_grad_norm_(half, self.settings.clip)
                for _ in range(steps):
                    optimizer.step()
            self.iteration += 1
            losses[index] = loss.item()
        return losses

    def state_dict(self) -> dict[str, Tensor]:
        """See `Trainer.state_dict`."""
        state = {ITERATION: torch.tensor(self.iteration)}
        moments = {key: slot for opt in self._optimizers for key, slot in opt.state.items()}
        for name, parameter in self.model.named_parameters():
            state[f"model.{name}"] = parameter.detach().clone()
            for key in ("exp_avg", "exp_avg_sq"):
                slot = moments.get(parameter)
                value = torch.zeros_like(parameter) if slot is None else slot[key]
                state[f"{key}.{name}"] = value.detach().clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See `Trainer.load_state_dict`."""
        self.iteration = int(state[ITERATION])
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        parts = zip(self._halves, self._optimizers, self._steps, strict=True)
        for half, optimizer, steps in parts:
            for parameter in half:
                name = names[id(parameter)]
                with torch.no_grad():
                    parameter.copy_(state[f"model.{name}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.iteration * steps)),
                    "exp_avg": state[f"exp_avg.{name}"].clone(),
                    "exp_avg_sq": state[f"exp_avg_sq.{name}"].clone(),
                }

    def export(self, model: EncoderDecoder) -> None:
        """See `Trainer.export`."""
        model.load_state_dict(self.model.state_dict())
