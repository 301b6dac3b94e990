"""The compiled trainer: whole chunks of iterations inside one native call."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float
from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]
from torch import Tensor

from experiments.scan.nets import cells, dropout, layout, numerics, passes
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.numerics import jit
from experiments.scan.nets.stream import Stream
from experiments.scan.nets.training import ITERATION, Settings, check_range

logger = logging.getLogger(__name__)


@jit
def norm(x: np.ndarray) -> float:
    """Euclidean norm."""
    total = x[0] - x[0]
    for i in range(x.shape[0]):
        total += x[i] * x[i]
    return math.sqrt(total)


@jit
def adam(
    x: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    coefficients: np.ndarray,
) -> None:
    """One Adam step in place, as `torch.optim.Adam` does it.

    Args:
        x: parameters.
        gradient: their gradient.
        first: first moment.
        second: second moment.
        coefficients: gradient factor (clipping), weight decay, 1 - beta1, 1 - beta2,
            learning rate / bias correction 1, sqrt(1 / bias correction 2), eps.
    """
    factor, decay, rate_1, rate_2 = (
        coefficients[0],
        coefficients[1],
        coefficients[2],
        coefficients[3],
    )
    step, root, eps = coefficients[4], coefficients[5], coefficients[6]
    for i in range(x.shape[0]):
        g = gradient[i] * factor + decay * x[i]
        m = first[i] + rate_1 * (g - first[i])
        v = second[i] + rate_2 * (g * g - second[i])
        first[i] = m
        second[i] = v
        x[i] -= step * m / (np.sqrt(v) * root + eps)


@jit
def clipped_adam(
    x: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    coefficients: np.ndarray,
    clip: float,
) -> None:
    """Scale the gradient to norm `clip` at most (as `clip_grad_norm_`), then do an Adam step."""
    coefficients[0] = min(1.0, clip / (norm(gradient) + 1e-6))
    adam(x, gradient, first, second, coefficients)


def _source_digest() -> str:
    """Fingerprint of the compiled sources: numba's own cache watches only one of the files."""
    modules = (cells, dropout, layout, numerics, passes)
    files = [Path(__file__), *(Path(str(module.__file__)) for module in modules)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def compiled_chunk() -> Callable[..., None]:
    """The native training loop; compiles on the first call with a given cell and precision."""
    digest = _source_digest()

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
        mask_seed: np.uint64,
        mask_below: np.uint64,
        mask_scale: Any,
    ) -> None:
        digest  # noqa: B018  # captured: part of the key of numba's cache
        commands, command_offsets, targets, target_offsets, samples, teacher = data
        lr, decay, clip, beta_1, beta_2, eps = hyper
        x, gradient, first, second = flat
        coefficients = np.zeros(7, x.dtype)
        coefficients[1], coefficients[2], coefficients[3] = decay, 1 - beta_1, 1 - beta_2
        coefficients[6] = eps
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
            coefficients[4] = lr / (1 - beta_1 ** (iteration + 1))
            coefficients[5] = 1 / math.sqrt(1 - beta_2 ** (iteration + 1))
            for low, high in ((0, split), (split, x.shape[0])):
                clipped_adam(
                    x[low:high],
                    gradient[low:high],
                    first[low:high],
                    second[low:high],
                    coefficients,
                    clip,
                )

    return numba.njit(cache=True, nogil=True, fastmath=numerics.FAST, error_model="numpy")(
        train_chunk
    )


# Code that numba loads from its cache rounds differently, in the last bit, from the same code in
# the process that has just compiled it, and training amplifies that. So that a run that was resumed
# or repeated has the same numbers, a process never trains with code that it compiled itself:
# another process compiles for it, and both load the result.
_IN_COMPILER = "EQUITUNE_COMPILING"
_COMPILE = "from experiments.scan.nets import kernel; kernel.compile_into_cache({!r}, {!r})"


@cache
def prepare(cell: str, dtype: str) -> None:
    """Make sure that the training loop for a cell and precision is in numba's cache."""
    if os.environ.get(_IN_COMPILER) or _stamp(cell, dtype).is_file():
        return
    logger.info("compiling the %s training kernel, about 20 s; cached afterwards", cell)
    result = subprocess.run(
        [sys.executable, "-c", _COMPILE.format(cell, dtype)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, _IN_COMPILER: "1"},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        logger.warning(
            "the kernel could not be cached (%s): a repeated run may differ in rounding", reason
        )


def compile_into_cache(cell: str, dtype: str) -> None:
    """Compile by training one iteration on a tiny example, and leave a stamp beside the cache."""
    model = Seq2Seq(cell, hidden=4).to(getattr(torch, dtype))
    stream = Stream.pack([[2, 1]], [[2, 1]], [0], [True])
    NumbaTrainer(model, Settings(lr=1e-4, weight_decay=0.0, clip=5.0, dropout=0.1, seed=0)).run(
        stream, 0, 1
    )
    _stamp(cell, dtype).touch()


def _stamp(cell: str, dtype: str) -> Path:
    """Return the file that says that numba's cache has the loop, for this machine and version."""
    version = f"{sys.implementation.cache_tag}-{numba.__version__}-{_host()}"
    name = f"kernel-{cell}-{dtype}-{version}-{_source_digest()[:16]}.compiled"
    return Path(compiled_chunk().stats.cache_path, name)  # type: ignore[attr-defined]


def _host() -> str:
    """Return the processor that numba compiles for."""
    return os.environ.get("NUMBA_CPU_NAME") or str(get_host_cpu_name())


class NumbaTrainer:
    """Compiled batch-1 training; see `training.Trainer`.

    The parameters live in one vector, input-major (see `layout`), with Adam's moments beside.
    """

    def __init__(self, model: Seq2Seq, settings: Settings) -> None:
        """Copy the parameters of `model`."""
        self.iteration = 0
        self.settings = settings
        self._model = copy.deepcopy(model)
        self._kind = cells.KINDS[model.cell]
        self._flat = layout.flatten(self._model, dict(self._model.named_parameters()))
        self._gradient, self._first, self._second = (np.zeros_like(self._flat) for _ in range(3))
        self._weights = layout.views(self._model, self._flat)
        self._gradients = layout.views(self._model, self._gradient)
        self._split = sum(parameter.numel() for parameter in self._model.encoder.parameters())

    def run(self, stream: Stream, start: int, stop: int) -> Float[np.ndarray, " iterations"]:
        """See `Trainer.run`. Releases the global interpreter lock."""
        check_range(self, stream, start, stop, self._model)
        settings, dtype = self.settings, self._flat.dtype
        prepare(self._model.cell, dtype.name)
        length = int(np.diff(stream.command_offsets).max())
        steps = int(np.diff(stream.target_offsets).max())
        losses = np.empty(stop - start)
        numbers = (
            stream.commands,
            stream.command_offsets,
            stream.targets,
            stream.target_offsets,
            stream.samples,
        )
        compiled_chunk()(
            self._kind,
            self._weights,
            self._gradients,
            layout.make_tape(self._kind, self._model, length, steps, dtype),
            (self._flat, self._gradient, self._first, self._second),
            self._split,
            (
                *(np.ascontiguousarray(words, np.int32) for words in numbers),
                np.ascontiguousarray(stream.teacher, np.bool_),
            ),
            start,
            losses,
            (settings.lr, settings.weight_decay, settings.clip, *settings.betas, settings.eps),
            np.uint64(settings.seed),
            np.uint64(dropout.threshold(settings.dropout)),
            dtype.type(1.0 / (1.0 - settings.dropout)),
        )
        self.iteration = stop
        return losses

    def gradients(self) -> dict[str, Tensor]:
        """Unclipped gradients of the last iteration, by parameter name."""
        return layout.unflatten(self._model, self._gradient)

    def state_dict(self) -> dict[str, Tensor]:
        """See `Trainer.state_dict`."""
        state = {ITERATION: torch.tensor(self.iteration)}
        for key, flat in self._vectors().items():
            tensors = layout.unflatten(self._model, flat)
            state.update({f"{key}.{name}": tensor for name, tensor in tensors.items()})
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See `Trainer.load_state_dict`."""
        self.iteration = int(state[ITERATION])
        for key, flat in self._vectors().items():
            prefix = f"{key}."
            named = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            flat[:] = layout.flatten(self._model, named)

    def export(self, model: Seq2Seq) -> None:
        """See `Trainer.export`."""
        model.load_state_dict(layout.unflatten(self._model, self._flat))

    def _vectors(self) -> dict[str, np.ndarray]:
        return {"model": self._flat, "exp_avg": self._first, "exp_avg_sq": self._second}
