"""The back ends of training and which one works here; nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache

from experiments.frame.errors import UserError

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
