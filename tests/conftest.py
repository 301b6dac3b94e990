"""Shapes in the library's annotations are checked while its tests run, and only there."""

import gc
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("equitune", "beartype.beartype")


#: Files that take minutes. A worker runs a whole file: begun last, one would run alone at the end.
LONGEST = (
    "scan/test_runs.py",
    "scripts/test_report.py",
    "frame/test_slurm.py",
    "scan/test_finetune_kernel.py",
    "frame/test_config.py",
    "scan/test_group_kernel.py",
    "frame/test_launchers.py",
    "cnn/test_runs.py",
    "frame/test_terminal.py",
    "frame/test_faults.py",
    "frame/test_identity_proofs.py",
    "scan/test_kernel.py",
    "scripts/test_demo.py",
    "clip/test_runs.py",
    "scan/test_interrupted_table.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, the others in their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places)))


def pytest_collection_finish() -> None:
    """Keep what is imported out of all later searches for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the interpreter take down what was imported."""
    gc.unfreeze()
