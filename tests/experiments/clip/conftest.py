"""Runs that most runs of a small CLIP begin with, done once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from experiments.frame.runner import StopSignal, ensure
from tests.experiments.clip.small import SHORT
from tests.experiments.conftest import composed


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network after two epochs, its classifier and its features."""
    results = tmp_path_factory.mktemp("shared") / "results"
    config = composed(results, *SHORT)
    for stage in ("text", "features_train", "features_test"):
        ensure(config, stage, StopSignal())
    return results


@pytest.fixture
def trained(shared: Path, tmp_path: Path) -> None:
    """Put these runs where a test's own are."""
    shutil.copytree(shared, tmp_path / "results")
