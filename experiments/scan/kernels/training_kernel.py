"""The compiled trainer of `Seq2Seq`: whole chunks of iterations inside one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.scan.kernels import adam, cells, layout, numerics, passes
from experiments.scan.kernels.compiled import CompiledTrainer, Loop, arrays, longest
from experiments.scan.nets import dropout
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.training import Settings


def _build(digest: str) -> Callable[..., None]:
    def train_chunk(
        kind: Any,
        weights: Any,
        gradients: Any,
        tape: Any,
        flat: tuple[np.ndarray, ...],
        split: int,
        data: tuple[np.ndarray, ...],
        start: int,
        losses: np.ndarray,
        hyper: tuple[float, ...],
        repeats: int,
        mask_seed: np.uint64,
        mask_below: np.uint64,
        mask_scale: Any,
    ) -> None:
        digest  # noqa: B018  # captured: part of the key of numba's cache
        commands, command_offsets, targets, target_offsets, samples, teacher = data
        for done in range(losses.shape[0]):
            iteration = start + done
            example = samples[iteration]
            command = commands[command_offsets[example] : command_offsets[example + 1]]
            target = targets[target_offsets[example] : target_offsets[example + 1]]
            length = command.shape[0]
            passes.fill_masks(tape, target.shape[0], mask_seed, iteration, mask_below, mask_scale)
            passes.encode(kind, weights, tape, command)
            steps = passes.decode(kind, weights, tape, length, target, teacher[iteration], True)
            losses[done] = passes.nll(tape, target, steps)
            passes.decode_back(kind, weights, gradients, tape, length, steps)
            passes.encode_back(kind, weights, gradients, tape, command)
            adam.update(flat, split, iteration, hyper, repeats)

    return train_chunk


def _example(cell: str, dtype: torch.dtype) -> None:
    model = Seq2Seq(cell, hidden=4).to(dtype)
    stream = Stream.pack([[2, 1]], [[2, 1]], [0], [True])
    NumbaTrainer(model, Settings(dropout=0.1)).run(stream, 0, 1)


LOOP = Loop(
    __name__,
    "training",
    _build,
    (adam, cells, dropout, layout, numerics, passes),
    _example,
)


class NumbaTrainer(CompiledTrainer[Seq2Seq]):
    """Compiled training of `Seq2Seq`; the parameters are input-major (see `layout`)."""

    loop = LOOP

    def __init__(self, model: Seq2Seq, settings: Settings) -> None:
        """Copy the parameters of `model`."""
        super().__init__(model, settings, layout)

    def _call(self, stream: Stream, start: int, losses: np.ndarray) -> None:
        settings, dtype = self.settings, self._flat.dtype
        self.loop.native(
            self._kind,
            self._weights,
            self._gradients,
            layout.make_tape(self._kind, self._model, *longest(stream), dtype),
            self._vector,
            self._split,
            arrays(stream),
            start,
            losses,
            self._hyper,
            settings.optimizer_steps,
            np.uint64(settings.seed),
            np.uint64(dropout.threshold(settings.dropout)),
            dtype.type(1.0 / (1.0 - settings.dropout)),
        )
