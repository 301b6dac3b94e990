"""The compiled trainer of the group models: whole chunks of iterations inside one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from equitune import Relabel, trivial
from experiments.scan.kernels import adam, cells, group_parts, matrix, numerics, vectors
from experiments.scan.kernels import group_layout as layout
from experiments.scan.kernels import group_passes as passes
from experiments.scan.kernels.compiled import CompiledTrainer, Loop, arrays, longest
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.training import Settings


def _build(digest: str) -> Callable[..., None]:
    def train_chunk(
        kind: Any,
        weights: Any,
        gradients: Any,
        symmetry: Any,
        tape: Any,
        flat: tuple[np.ndarray, ...],
        split: int,
        data: tuple[np.ndarray, ...],
        start: int,
        losses: np.ndarray,
        hyper: tuple[float, ...],
        repeats: int,
        mean: bool,
    ) -> None:
        digest  # noqa: B018  # captured: part of the key of numba's cache
        commands, command_offsets, targets, target_offsets, samples, teacher = data
        for done in range(losses.shape[0]):
            iteration = start + done
            example = samples[iteration]
            command = commands[command_offsets[example] : command_offsets[example + 1]]
            target = targets[target_offsets[example] : target_offsets[example + 1]]
            length = command.shape[0]
            passes.prepare_words(weights, symmetry, tape)
            passes.encode(kind, weights, symmetry, tape, command)
            steps = passes.decode(kind, weights, symmetry, tape, length, target, teacher[iteration])
            losses[done] = passes.nll(tape, target, steps, mean)
            passes.decode_back(kind, weights, gradients, symmetry, tape, length, steps)
            passes.encode_back(kind, weights, gradients, symmetry, tape, command)
            adam.update(flat, split, iteration, hyper, repeats)

    return train_chunk


def _example(cell: str, dtype: torch.dtype) -> None:
    still = Relabel(trivial(), torch.arange(3)[None])
    model = GroupSeq2Seq(cell, still, still, in_words=3, out_words=3, hidden=4).to(dtype)
    stream = Stream.pack([[2, 1]], [[2, 1]], [0], [True])
    GroupTrainer(model, Settings()).run(stream, 0, 1)


LOOP = Loop(
    __name__,
    "group-training",
    _build,
    (adam, cells, group_parts, layout, matrix, numerics, passes, vectors),
    _example,
)


class GroupTrainer(CompiledTrainer[GroupSeq2Seq]):
    """Compiled training of `GroupSeq2Seq`; see `group_layout`."""

    loop = LOOP

    def __init__(self, model: GroupSeq2Seq, settings: Settings) -> None:
        """Copy the parameters of `model`.

        Args:
            model: Network on the CPU; the run has its precision.
            settings: Hyper-parameters. The model has no dropout, so `dropout` must be 0.

        Raises:
            ValueError: `settings.dropout` is not 0.
        """
        if settings.dropout != 0:
            raise ValueError(f"the group models have no dropout, got a rate of {settings.dropout}")
        super().__init__(model, settings, layout)
        self._symmetry = layout.symmetry(self._model)

    def _call(self, stream: Stream, start: int, losses: np.ndarray) -> None:
        settings = self.settings
        self.loop.native(
            self._kind,
            self._weights,
            self._gradients,
            self._symmetry,
            layout.make_tape(self._kind, self._model, *longest(stream), self._flat.dtype),
            self._vector,
            self._split,
            arrays(stream),
            start,
            losses,
            self._hyper,
            settings.optimizer_steps,
            settings.reduction == "mean",
        )
