"""Choice of the trainer: compiled kernels, or plain PyTorch if numba is not available."""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache

from experiments.frame.errors import UserError
from experiments.scan.nets.dropout import threshold
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.model import EncoderDecoder, Seq2Seq
from experiments.scan.nets.objective import Objective, TorchFinetuner
from experiments.scan.nets.training import Settings, TorchTrainer, Trainer

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "numba", "torch")


def why_no_kernel() -> str | None:
    """Return the reason why numba cannot compile here, or None if it can.

    Raises:
        UserError: If numba cannot be imported because of one of its environment variables.
    """
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    if _number("NUMBA_DISABLE_JIT", 0, 0):
        return "NUMBA_DISABLE_JIT is set"
    _number("NUMBA_NUM_THREADS", 1, 1)
    return None


def _number(name: str, default: int, least: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise UserError(f"{name}={text} must be a whole number from {least}")
    return number


def choose_backend(backend: str) -> str:
    """Return "numba" or "torch" for one of `BACKENDS`; warn once if there is no kernel.

    Raises:
        ValueError: If `backend` is unknown.
        UserError: See `why_no_kernel`.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    reason = why_no_kernel()
    if reason is None:
        return "numba"
    _warn_slow(reason)
    return "torch"


@cache
def _warn_slow(reason: str) -> None:
    """Warn once per process that the slow back end is in use."""
    logger.warning("%s: training SCAN with PyTorch, ~30 times slower", reason)


def make_trainer(model: EncoderDecoder, settings: Settings, backend: str = "auto") -> Trainer:
    """Start a training run from the parameters of `model`, which stays untouched.

    Args:
        model: Network on the CPU; the run has its precision (float32, or float64 for tests).
        settings: Hyper-parameters.
        backend: "numba" (compiled), "torch" (the specification, about 30 times slower), or
            "auto" (default): numba where it can compile, else torch with a warning.

    Returns:
        A trainer at iteration 0.

    Raises:
        ValueError: If `backend` is unknown, or `dropout` is not in [0, 1), or not 0 for a group
            model.
    """
    threshold(settings.dropout)
    if choose_backend(backend) == "torch":
        return TorchTrainer(model, settings)
    if isinstance(model, GroupSeq2Seq):
        from experiments.scan.kernels.group_kernel import GroupTrainer

        return GroupTrainer(model, settings)
    from experiments.scan.kernels.training_kernel import NumbaTrainer

    assert isinstance(model, Seq2Seq)
    return NumbaTrainer(model, settings)


def make_finetuner(
    model: Seq2Seq, settings: Settings, objective: Objective, backend: str = "auto"
) -> Trainer:
    """Start fine-tuning from the parameters of `model`, which stays untouched.

    Args:
        model: The pretrained network, on the CPU; the run has its precision.
        settings: Hyper-parameters.
        objective: The minimised loss.
        backend: As in `make_trainer`.

    Returns:
        A trainer at iteration 0.

    Raises:
        ValueError: If `backend` is unknown.
    """
    if choose_backend(backend) == "torch":
        return TorchFinetuner(model, settings, objective)
    from experiments.scan.kernels.finetune_kernel import FinetuneTrainer

    return FinetuneTrainer(model, settings, objective)
