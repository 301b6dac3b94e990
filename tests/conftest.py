"""Shapes in the library's annotations are checked while its tests run, and only there."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("equitune", "beartype.beartype")


def pytest_collection_finish() -> None:
    """Keep what is imported out of all later searches for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the interpreter take down what was imported."""
    gc.unfreeze()
