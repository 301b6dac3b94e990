"""Native training loops: compiled once per machine, by another process, and cached by numba.

Code that numba loads from its cache rounds differently, in the last bit, from the same code in the
process that has just compiled it, and training amplifies that. So that a run that was resumed or
repeated has the same numbers, a process never trains with code that it compiled itself: another
process compiles for it, and both load the result.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import stat
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

import numba
import numpy as np
import torch
from jaxtyping import Float
from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]
from torch import Tensor

from experiments.frame.files import digest
from experiments.frame.machine import python_path
from experiments.frame.stopping import locked, output_of
from experiments.scan.kernels import cells, numerics
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.model import EncoderDecoder
from experiments.scan.nets.training import ITERATION, Settings, check_range

logger = logging.getLogger(__name__)

#: Cell, precision, and all other arguments that decide the compiled version.
Key = tuple[object, ...]

_IN_COMPILER = "EQUITUNE_COMPILING"
# The compiler keeps almost all that it allocates: without collecting it takes a seventh less time.
_COMPILE = (
    "import gc; gc.disable(); from importlib import import_module; "
    "getattr(import_module({!r}), 'LOOP').compile_into_cache(*{!r})"
)


class Loop:
    """A training loop in native code; the attribute LOOP of its module.

    Args:
        module: The name of that module.
        purpose: Word for messages and file names.
        build: Returns the Python function to compile. The function must capture the
            argument of `build`, a fingerprint of the sources, which becomes part of numba's cache
            key: numba itself watches only one of the files.
        sources: The modules whose functions the loop uses.
        example: `example(cell, dtype, ...)` runs the loop once on tiny data; its arguments are
            the key of a compiled version, with the precision as a torch.dtype.
    """

    def __init__(
        self,
        module: str,
        purpose: str,
        build: Callable[[str], Callable[..., None]],
        sources: Sequence[ModuleType],
        example: Callable[..., object],
    ) -> None:
        self._module, self._purpose, self._build = module, purpose, build
        self._sources, self._example = sources, example
        self._ready: set[Key] = set()

    @cached_property
    def _digest(self) -> str:
        modules = (*self._sources, sys.modules[self._module])
        files = sorted(str(module.__file__) for module in modules)
        return digest(b"".join(Path(file).read_bytes() for file in files))

    @cached_property
    def native(self) -> Callable[..., None]:
        """Return the compiled function; the first call with a key compiles it."""
        compiler = numba.njit(cache=True, nogil=True, fastmath=numerics.FAST, error_model="numpy")
        function = self._build(self._digest)
        compiled: Callable[..., None]
        try:
            compiled = compiler(function)
        except RuntimeError as error:  # neither this checkout nor HOME can be written
            if "no locator" not in str(error):
                raise
            _cache_elsewhere()
            compiled = compiler(function)
        return compiled

    def prepare(self, key: Key) -> None:
        """Ensure that numba's cache has the loop's version for a key.

        Args:
            key: Cell, precision, and all other arguments of the example of this loop.

        Raises:
            Interrupted: If the process is asked to stop while the loop is compiled.
        """
        if key in self._ready or os.environ.get(_IN_COMPILER):
            return
        stamp = self._stamp(key)
        if not stamp.is_file():
            # Jobs of a sweep that start together: one compiles, the others wait and load.
            with locked(stamp.with_suffix(".lock")):
                if not stamp.is_file():
                    self._compile_elsewhere(key)
        self._ready.add(key)

    def _compile_elsewhere(self, key: Key) -> None:
        logger.info(
            "compiling the %s %s kernel, less than a minute; cached afterwards",
            key[0],
            self._purpose,
        )
        result = output_of(
            [sys.executable, "-c", _COMPILE.format(self._module, key)],
            cwd=Path(__file__).parents[3],
            env={**os.environ, _IN_COMPILER: "1", "PYTHONPATH": python_path()},
        )
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            logger.warning(
                "the kernel could not be cached (%s): a repeated run may differ in rounding", reason
            )

    def compile_into_cache(self, cell: str, dtype: str, *rest: object) -> None:
        """Compile by running the example, and write a stamp file beside the cache."""
        self._example(cell, getattr(torch, dtype), *rest)
        self._stamp((cell, dtype, *rest)).touch()

    def _stamp(self, key: Key) -> Path:
        """Return the stamp file of a cached version, for this machine and numba."""
        host = os.environ.get("NUMBA_CPU_NAME") or str(get_host_cpu_name())
        version = f"{sys.implementation.cache_tag}-{numba.__version__}-{host}"
        words = "-".join(map(str, key))
        name = f"{self._purpose}-{words}-{version}-{self._digest[:16]}.compiled"
        return Path(self.native.stats.cache_path, name)  # type: ignore[attr-defined]


def _cache_elsewhere() -> None:
    """Make numba, and child processes, cache compiled code in the temporary folder.

    Code in the cache is run, so the folder must be ours and writable by nobody else.
    """
    folder = Path(tempfile.gettempdir(), f"equitune-numba-{os.getuid()}")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat() if folder.exists() else None
    if facts is None or not stat.S_ISDIR(facts.st_mode) or _belongs_to_others(facts):
        folder = Path(tempfile.mkdtemp(prefix="equitune-numba-"))
    logger.warning(
        "no folder for compiled kernels can be written (%s, HOME): they are kept in %s; "
        "NUMBA_CACHE_DIR names another folder",
        Path(__file__).parent,
        folder,
    )
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    numba.config.reload_config()  # type: ignore[no-untyped-call]


def _belongs_to_others(facts: os.stat_result) -> bool:
    return facts.st_uid != os.getuid() or bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


M = TypeVar("M", bound=EncoderDecoder)
M_contra = TypeVar("M_contra", bound=EncoderDecoder, contravariant=True)


class Layout(Protocol[M_contra]):
    """The layout of a kind of network in one vector; see `layout` for the functions."""

    def flatten(self, model: M_contra, tensors: dict[str, Tensor], /) -> np.ndarray:
        """Copy named tensors into one vector."""
        ...

    def unflatten(self, model: M_contra, flat: np.ndarray, /) -> dict[str, Tensor]:
        """Invert `flatten`."""
        ...

    def views(self, model: M_contra, flat: np.ndarray, /) -> Any:
        """Name the parts of a vector."""
        ...


class CompiledTrainer(ABC, Generic[M]):
    """Compiled batch-1 training; see `training.Trainer`.

    The parameters are in one vector, Adam's moments in two more. A subclass names its loop and
    calls it.
    """

    loop: Loop

    def __init__(self, model: M, settings: Settings, layout: Layout[M]) -> None:
        """Copy the parameters of `model`."""
        self.iteration = 0
        self.settings = settings
        self._model = copy.deepcopy(model)
        self._layout = layout
        self._kind = cells.KINDS[model.cell]
        self._flat = layout.flatten(self._model, dict(self._model.named_parameters()))
        self._gradient, self._first, self._second = (np.zeros_like(self._flat) for _ in range(3))
        self._weights = layout.views(self._model, self._flat)
        self._gradients = layout.views(self._model, self._gradient)
        self._split = sum(parameter.numel() for parameter in self._model.encoder.parameters())

    @abstractmethod
    def _call(self, stream: Stream, start: int, losses: np.ndarray) -> None:
        """Run the loop from iteration `start`; write one loss per iteration."""

    def run(self, stream: Stream, start: int, stop: int) -> Float[np.ndarray, " iterations"]:
        """See `Trainer.run`. Releases the global interpreter lock."""
        check_range(self, stream, start, stop, self._model)
        self.loop.prepare(self._key)
        losses = np.empty(stop - start)
        self._call(stream, start, losses)
        self.iteration = stop
        return losses

    @property
    def _key(self) -> Key:
        return self._model.cell, self._flat.dtype.name

    @property
    def _vector(self) -> tuple[np.ndarray, ...]:
        return self._flat, self._gradient, self._first, self._second

    @property
    def _hyper(self) -> tuple[float, ...]:
        settings = self.settings
        return (settings.lr, settings.weight_decay, settings.clip, *settings.betas, settings.eps)

    def gradients(self) -> dict[str, Tensor]:
        """Return the unclipped gradients of the last iteration, by parameter name."""
        return self._layout.unflatten(self._model, self._gradient)

    def state_dict(self) -> dict[str, Tensor]:
        """See `Trainer.state_dict`."""
        state = {ITERATION: torch.tensor(self.iteration)}
        for key, flat in self._named_vectors().items():
            tensors = self._layout.unflatten(self._model, flat)
            state.update({f"{key}.{name}": tensor for name, tensor in tensors.items()})
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See `Trainer.load_state_dict`."""
        self.iteration = int(state[ITERATION])
        for key, flat in self._named_vectors().items():
            prefix = f"{key}."
            named = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            flat[:] = self._layout.flatten(self._model, named)

    def export(self, model: EncoderDecoder) -> None:
        """See `Trainer.export`."""
        model.load_state_dict(self._layout.unflatten(self._model, self._flat))

    def _named_vectors(self) -> dict[str, np.ndarray]:
        return {"model": self._flat, "exp_avg": self._first, "exp_avg_sq": self._second}


def longest(stream: Stream) -> tuple[int, int]:
    """Return the numbers of words of the longest command and of the longest target."""
    return int(np.diff(stream.command_offsets).max()), int(np.diff(stream.target_offsets).max())


def arrays(stream: Stream) -> tuple[np.ndarray, ...]:
    """Return commands, offsets, targets, offsets, samples and teacher, as the loops take them."""
    numbers = (
        stream.commands,
        stream.command_offsets,
        stream.targets,
        stream.target_offsets,
        stream.samples,
    )
    return (
        *(np.ascontiguousarray(words, np.int32) for words in numbers),
        np.ascontiguousarray(stream.teacher, np.bool_),
    )
