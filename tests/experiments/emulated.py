"""The hub of `hub_server`, in place of the real one and with an empty cache, for this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from experiments.external import downloads, hub
from experiments.frame import stopping
from experiments.frame.options import AnyConfig
from experiments.frame.tasks import load_task
from tests.experiments.hub_server import HubServer, Kind, Repository, commit_of


@contextmanager
def emulated_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[HubServer]:
    """Start the hub; a server that does not answer is soon given up."""
    with HubServer() as server:
        point_to(monkeypatch, server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(downloads, "PAUSE", 0.0)
        monkeypatch.setattr(stopping, "LOOK", 0.01)
        monkeypatch.setattr(downloads, "_silent", {})
        hub._told_commit.cache_clear()
        yield server


def point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let huggingface_hub take another address for the hub's."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def publish(
    server: HubServer, name: str, files: Mapping[str, bytes | Path], kind: Kind = "model"
) -> str:
    """Put a repository of one commit on the hub, and return the commit."""
    commit = commit_of(name)
    server.add(Repository(name, kind, {commit: dict(files)}, {"main": commit}))
    return commit


def fetch_all(config: AnyConfig) -> None:
    """Download all that runs of a configuration need, as `scripts/fetch.py` does."""
    for download in load_task(config.task.name).downloads(config):
        download()


def blob_of(path: Path) -> Path:
    """Return the file that a path of the cache leads to."""
    return path.resolve()
