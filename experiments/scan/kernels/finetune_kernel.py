"""The compiled trainer of the fine-tuning objectives; see `objective` for the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import equitune
from experiments.scan.kernels import adam, branches, cells, layout, numerics, passes
from experiments.scan.kernels.compiled import CompiledTrainer, Loop, arrays, longest
from experiments.scan.kernels.layout import Tape, Weights
from experiments.scan.kernels.numerics import dropout_row, jit
from experiments.scan.nets import dropout
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.objective import SPACES, Objective
from experiments.scan.nets.training import Settings

SOS, EOS = Seq2Seq.SOS, Seq2Seq.EOS


@jit
def relabel(table: np.ndarray, words: np.ndarray, out: np.ndarray) -> None:
    """Write the transform of words by one element, given its row of the table."""
    for i in range(words.shape[0]):
        out[i] = table[words[i]]


@jit
def decode_jointly(
    kind: Any,
    weights: Weights,
    tapes: tuple[Tape, ...],
    length: int,
    table: np.ndarray,
    shares: np.ndarray,
    space: int,
    lengths: np.ndarray,
    row: np.ndarray,
) -> None:
    """Feed every branch its transform of the average's word; `lengths` holds the limit.

    Writes the number of steps taken to `lengths`.
    """
    limit, word = lengths[0], SOS
    for t in range(limit):
        for g in range(table.shape[0]):
            passes.decode_step(kind, weights, tapes[g], length, t, table[g, word])
        word = branches.combine_row(tapes, table, shares, lengths, t, space, row)
        if word == EOS:
            for g in range(table.shape[0]):
                lengths[g] = t + 1
            return


@jit
def add(total: np.ndarray, part: np.ndarray) -> None:
    """Add a vector to another."""
    for i in range(total.shape[0]):
        total[i] += part[i]


def _build(digest: str) -> Callable[..., None]:
    def finetune_chunk(
        kind: Any,
        weights: Any,
        gradients: Any,
        tapes: Any,
        flat: tuple[np.ndarray, ...],
        branch_gradient: np.ndarray,
        split: int,
        data: tuple[np.ndarray, ...],
        start: int,
        losses: np.ndarray,
        hyper: tuple[float, ...],
        repeats: int,
        command_table: np.ndarray,
        table: np.ndarray,
        shares_of: np.ndarray,
        choices: tuple[bool, bool, int, int],
        max_steps: int,
        mask_seed: np.uint64,
        mask_below: np.uint64,
        mask_scale: Any,
    ) -> None:
        digest  # noqa: B018  # captured: part of the key of numba's cache
        commands, command_offsets, targets, target_offsets, samples, teacher = data
        selects, joint, space, padded_rows = choices
        order = table.shape[0]
        lengths = np.empty(order, np.int64)
        own_command = np.empty((order, command_offsets.shape[0]), np.int32)
        own_target = np.empty(max_steps, np.int32)
        row = np.empty(table.shape[1], flat[0].dtype)
        for done in range(losses.shape[0]):
            iteration = start + done
            example = samples[iteration]
            command = commands[command_offsets[example] : command_offsets[example + 1]]
            target = targets[target_offsets[example] : target_offsets[example + 1]]
            length, size = command.shape[0], target.shape[0]
            forced = teacher[iteration]
            shares = shares_of[example % shares_of.shape[0]]
            # The selection's score reads all steps of a branch, the loss only the target's steps.
            reach = max_steps if selects and not forced else size
            for g in range(order):
                tape = tapes[g]
                for t in range(reach):
                    step = g * max_steps + t
                    dropout_row(tape.masks[t], mask_seed, iteration, step, mask_below, mask_scale)
                relabel(command_table[g], command, own_command[g])
                passes.encode(kind, weights, tape, own_command[g, :length])
                lengths[g] = reach
                if forced or not joint:
                    relabel(table[g], target, own_target)
                    lengths[g] = passes.decode(
                        kind, weights, tape, length, own_target[:reach], forced, not forced
                    )
            if joint and not forced:
                decode_jointly(kind, weights, tapes, length, table, shares, space, lengths, row)
            if selects:
                losses[done], steps = branches.select_nll(
                    tapes, table, shares, lengths, target, space, padded_rows, row
                )
            else:
                losses[done], steps = branches.average_nll(
                    tapes, table, shares, lengths, target, space, row
                )
            numerics.clear(flat[1])
            for g in range(order):
                taken = min(steps, lengths[g])
                passes.decode_back(kind, weights, gradients, tapes[g], length, taken)
                passes.encode_back(kind, weights, gradients, tapes[g], own_command[g, :length])
                add(flat[1], branch_gradient)
            adam.update(flat, split, iteration, hyper, repeats)

    return finetune_chunk


def _example(cell: str, dtype: torch.dtype, order: int) -> None:
    model = Seq2Seq(cell, hidden=4).to(dtype)
    group = equitune.cyclic(order)
    commands, words = (
        equitune.Relabel(group, torch.arange(size).repeat(order, 1))
        for size in (model.in_words, model.out_words)
    )
    stream = Stream.pack([[2, 1]], [[2, 1]], [0], [True])
    FinetuneTrainer(model, Settings(), Objective(commands, words)).run(stream, 0, 1)


LOOP = Loop(
    __name__,
    "finetuning",
    _build,
    (adam, branches, cells, dropout, layout, numerics, passes),
    _example,
)


class FinetuneTrainer(CompiledTrainer[Seq2Seq]):
    """Compiled fine-tuning of `Seq2Seq` on an orbit; see `objective.TorchFinetuner`."""

    loop = LOOP

    def __init__(self, model: Seq2Seq, settings: Settings, objective: Objective) -> None:
        """Copy the parameters of `model`."""
        super().__init__(model, settings, layout)
        self.objective = objective
        # A branch's gradients are written here, and summed in the trainer's vector.
        self._branch_gradient = np.zeros_like(self._flat)
        self._gradients = layout.views(self._model, self._branch_gradient)

    @property
    def _key(self) -> tuple[object, ...]:
        return (*super()._key, self.objective.order)

    def _call(self, stream: Stream, start: int, losses: np.ndarray) -> None:
        settings, objective, dtype = self.settings, self.objective, self._flat.dtype
        length, _ = longest(stream)
        max_steps = self._model.max_steps
        self.loop.native(
            self._kind,
            self._weights,
            self._gradients,
            tuple(
                layout.make_tape(self._kind, self._model, length, max_steps, dtype)
                for _ in range(objective.order)
            ),
            self._vector,
            self._branch_gradient,
            self._split,
            arrays(stream),
            start,
            losses,
            self._hyper,
            settings.optimizer_steps,
            objective.commands.forward_table.numpy(),
            objective.words.forward_table.numpy(),
            self._shares(len(stream.command_offsets) - 1),
            (
                objective.combine == "select",
                objective.coupling == "joint" and objective.combine == "average",
                SPACES.index(objective.space),
                max_steps if objective.score == "padded" else 0,
            ),
            max_steps,
            np.uint64(settings.seed),
            np.uint64(dropout.threshold(settings.dropout)),
            dtype.type(1.0 / (1.0 - settings.dropout)),
        )

    def _shares(self, examples: int) -> np.ndarray:
        """Return the weights of every example's branches, `[N, G]`, or one row for all."""
        count = 1 if self.objective.weights is None else examples
        shares = torch.stack([self.objective.shares(example) for example in range(count)])
        return np.ascontiguousarray(shares.numpy(), dtype=self._flat.dtype)
