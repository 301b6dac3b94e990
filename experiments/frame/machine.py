"""Provenance of a run: versions, commit, device, memory; and the choice of the device."""

from __future__ import annotations

import functools
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.frame.errors import UserError

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "stable-baselines3",
    "gymnasium",
    "hydra-core",
    "omegaconf",
    "safetensors",
    "open_clip_torch",
    "timm",
    "transformers",
    "torchvision",
    "Pillow",
    "wandb",
)


@functools.cache
def commit() -> dict[str, Any]:
    """Return the commit of the checkout and whether it has uncommitted changes (None: no git)."""
    root = Path(__file__).parents[2]

    def git(*words: str) -> str | None:
        try:
            result = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


_submitted: dict[str, Any] = {}


def note_submitted(commit: dict[str, Any] | None) -> None:
    """Store the commit with which this job's sweep was started (None: not part of a sweep)."""
    _submitted.clear()
    if commit is not None:
        _submitted["submitted"] = commit


def submitted() -> dict[str, Any]:
    """Return the commit with which this job's sweep was started, as a part of a record."""
    return dict(_submitted)


@functools.cache
def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that a result may depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def hardware() -> dict[str, Any]:
    """Return the processor, its architecture and the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {"machine": platform.machine(), "processor": _processor(), "cores": cores}


def _processor() -> str:
    """Return the system's name of the processor; empty if unknown."""
    try:
        with open(_CPUS, encoding="utf-8") as lines:
            names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
            return next(names, "").strip()
    except OSError:
        return platform.processor()


def accelerator(device: str) -> dict[str, str]:
    """Return the name of a CUDA device, as a part of a record; empty for other devices."""
    if not device.startswith("cuda"):
        return {}
    import torch

    try:
        return {"accelerator": torch.cuda.get_device_name(device)}
    except (RuntimeError, AssertionError):
        return {}  # CUDA may be broken after an error of the run


def python_path() -> str:
    """Return PYTHONPATH with this checkout first, so that child processes in any folder find it."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def peak_memory_mib() -> float:
    """Return the largest resident set of this process so far (earlier jobs included), in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def limit_threads(count: int) -> None:
    """Give the numeric libraries ``count`` threads each; call before they are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    os.environ.setdefault("NUMBA_NUM_THREADS", str(count))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def choose_device(wanted: str) -> torch.device:
    """Return the device for ``device=``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UserError: If the device is not available.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available()}
    available["mps"] = torch.backends.mps.is_available()
    present = [name for name, there in available.items() if there]
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if wanted not in present:
        raise UserError(
            f"device={wanted} is not on this machine; choose from: auto, {', '.join(present)}"
        )
    return torch.device(wanted)


#: Linux's description of the CPUs.
_CPUS = "/proc/cpuinfo"
#: Device files of CUDA and ROCm on Linux; without any of them there is no GPU.
_GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
#: Linux's CPU flags for multiplication of bfloat16: Intel's and AMD's, and Arm's.
_BFLOAT16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}
#: Values of oneDNN's environment variable that forbid these units.
_BELOW = re.compile(r"SSE41$|AVX$|AVX2|AVX512_(MIC|CORE(_VNNI)?$)", re.IGNORECASE)


@functools.cache
def multiplies_bfloat16(device: str) -> bool:
    """Whether the device of ``device=`` multiplies bfloat16 in hardware.

    Other devices emulate such products, 7 to 38 times slower than float32.

    Args:
        device: As in the configuration; a missing device has no such units.
    """
    if device == "mps" or sys.platform != "linux":
        return False
    if device != "cpu" and any(Path(path).exists() for path in _GPUS):
        import torch

        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device != "cuda" and _cpu_multiplies_bfloat16()


def _cpu_multiplies_bfloat16() -> bool:
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if _BELOW.match(limit):
        return False
    try:
        with open(_CPUS, encoding="utf-8") as lines:
            units = next((x for x in lines if x.lower().startswith(("flags", "features"))), "")
    except OSError:
        return False
    return not _BFLOAT16_UNITS.isdisjoint(units.partition(":")[2].split())


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Compute float32 as IEEE float32 on CUDA while the body runs: without TF32, its default there.

    The settings of the process are restored afterwards.
    """
    import torch

    settings = _without_tf32(torch.backends)
    before = [getattr(place, name) for place, name, _ in settings]
    try:
        for place, name, value in settings:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(settings, before, strict=True):
            setattr(place, name, value)


def _without_tf32(backends: Any) -> list[tuple[Any, str, Any]]:
    """Return PyTorch's float32 settings: their objects, attribute names and values without TF32."""
    matmul, cudnn = backends.cuda.matmul, backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # from PyTorch 2.9
        places = (matmul, cudnn.conv, cudnn.rnn)
        return [(place, "fp32_precision", "ieee") for place in places]
    return [(matmul, "allow_tf32", False), (cudnn, "allow_tf32", False)]
