"""The stand-in for the hub, by what `huggingface_hub` makes of it."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from httpx2 import RemoteProtocolError
from huggingface_hub import HfApi, constants, file_download, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import _http

from tests.experiments import hub_server
from tests.experiments.hub_server import NORMAL, Behaviour, HubServer, Repository, commit_of

NEW, OLD, PROPOSED = commit_of("new"), commit_of("old"), commit_of("proposed")
WEIGHTS = bytes(range(1, 251)) * 1200


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a model of three commits, whose weights are a file, and a data set."""
    # The first request of a process would be for a list of agents, from the real hub.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    weights = tmp_path / "weights"
    weights.write_bytes(WEIGHTS)
    commits = {
        NEW: {"config.json": b"new", "model.safetensors": weights, "words/a b/list.txt": b"a"},
        OLD: {"config.json": b"old"},
        PROPOSED: {"config.json": b"proposed"},
    }
    branches = {"main": NEW, "refs/pr/1": PROPOSED}
    with HubServer() as server:
        server.add(Repository("owner/name", "model", commits, branches), "former")
        server.add(Repository("owner/data", "dataset", {NEW: {"a.csv": b"a,b"}}, {"main": NEW}))
        yield server


@pytest.fixture
def get(hub: HubServer, tmp_path: Path) -> Callable[..., Path]:
    """Download a file into a cache of the test's."""

    def download(path: str, repo: str = "owner/name", **options: Any) -> Path:
        kept = {"endpoint": hub.url, "cache_dir": tmp_path / "cache"}
        return Path(hf_hub_download(repo, path, **kept, **options))

    return download


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the seconds that the library waits before it asks again."""
    for module in (file_download, _http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))


def asked(hub: HubServer) -> list[tuple[str, str, int]]:
    """What was asked for, without the SHA-256 of large files."""
    return [
        (method, "/cdn/model.safetensors" if path.startswith("/cdn/") else path, status)
        for method, path, status, _ in hub.requests
    ]


def read(url: str, part: str = "", timeout: float = 10) -> tuple[int, bytes, str]:
    """Fetch a plain file, or some of it: the status, the bytes, and which they are."""
    with urlopen(Request(url, headers={"Range": part} if part else {}), timeout=timeout) as answer:
        return answer.status, answer.read(), answer.headers.get("Content-Range", "")


def test_small_files_are_served_and_kept(hub: HubServer, get: Callable[..., Path]) -> None:
    path = get("config.json")
    assert path.read_bytes() == b"new" and path.parent.name == NEW
    # The name that Git has for these bytes: `printf new | git hash-object --stdin`.
    assert path.resolve().name == "3e5126c4e761fd09582fc517918a1601b218dff0"
    url = "/owner/name/resolve/main/config.json"
    assert asked(hub) == [("HEAD", url, 200), ("GET", url, 200)]
    hub.clear()
    assert get("config.json", revision=NEW) == path
    assert hub.requests == []


def test_large_files_are_on_another_host(hub: HubServer, get: Callable[..., Path]) -> None:
    assert get("model.safetensors").read_bytes() == WEIGHTS
    assert asked(hub) == [
        ("HEAD", "/owner/name/resolve/main/model.safetensors", 302),
        ("GET", "/cdn/model.safetensors", 200),
    ]
    assert hub.url.split(":")[1:] != hub.cdn_url.split(":")[1:]
    with pytest.raises(HTTPError, match="404"):
        read(hub.url + hub.requests[1].path)


@pytest.mark.parametrize(
    ("revision", "content"),
    [("main", b"new"), (OLD, b"old"), (OLD[:7], b"old"), ("refs/pr/1", b"proposed")],
)
def test_revisions(get: Callable[..., Path], revision: str, content: bytes) -> None:
    assert get("config.json", revision=revision).read_bytes() == content


def test_former_names_are_redirected(hub: HubServer, get: Callable[..., Path]) -> None:
    assert get("model.safetensors", "former").read_bytes() == WEIGHTS
    assert asked(hub)[0] == ("HEAD", "/former/resolve/main/model.safetensors", 307)
    assert HfApi(endpoint=hub.url).model_info("former").id == "owner/name"


def test_datasets_are_not_models(get: Callable[..., Path]) -> None:
    assert get("a.csv", "owner/data", repo_type="dataset").read_bytes() == b"a,b"
    with pytest.raises(RepositoryNotFoundError):
        get("a.csv", "owner/data")


def test_what_is_missing_has_its_own_error(hub: HubServer, get: Callable[..., Path]) -> None:
    api = HfApi(endpoint=hub.url)
    with pytest.raises(EntryNotFoundError):
        get("other.json")
    with pytest.raises(RevisionNotFoundError):
        get("config.json", revision="other")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("owner/name", revision=commit_of("other"))
    with pytest.raises(RepositoryNotFoundError):
        get("config.json", "owner/other")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("owner/other")
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("owner/name", "other"))
    assert {request.status for request in hub.requests} == {404}


def test_information(hub: HubServer) -> None:
    api = HfApi(endpoint=hub.url)
    paths = ["config.json", "model.safetensors", "words/a b/list.txt"]
    info = api.model_info("owner/name", files_metadata=True)
    assert info.sha == NEW and info.siblings is not None
    assert [sibling.rfilename for sibling in info.siblings] == paths
    assert [sibling.size for sibling in info.siblings] == [3, len(WEIGHTS), 1]
    assert [sibling.lfs is not None for sibling in info.siblings] == [False, True, False]
    assert api.model_info("owner/name", revision="refs/pr/1").sha == PROPOSED
    assert api.dataset_info("owner/data").sha == NEW
    assert api.list_repo_files("owner/name") == paths
    top = [entry.path for entry in api.list_repo_tree("owner/name")]
    assert top == ["config.json", "model.safetensors", "words"]
    below = [entry.path for entry in api.list_repo_tree("owner/name", "words", recursive=True)]
    assert below == ["words/a b", "words/a b/list.txt"]


@pytest.mark.parametrize("revision", [None, NEW, NEW[:9]])
def test_snapshots(hub: HubServer, tmp_path: Path, revision: str | None) -> None:
    snapshot_download("owner/name", revision=revision, endpoint=hub.url, cache_dir=tmp_path / "c")
    folder = tmp_path / "c" / "models--owner--name" / "snapshots" / NEW
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "words" / "a b" / "list.txt").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("part", "expected", "named"),
    [
        ("bytes=4-", b"efghij", "bytes 4-9/10"),
        ("bytes=2-3", b"cd", "bytes 2-3/10"),
        ("bytes=8-99", b"ij", "bytes 8-9/10"),
        ("bytes=-3", b"hij", "bytes 7-9/10"),
    ],
)
def test_parts_of_plain_files(hub: HubServer, part: str, expected: bytes, named: str) -> None:
    url = hub.add_file("folder/some file.zip", b"abcdefghij")
    assert read(url) == (200, b"abcdefghij", "")
    assert read(url, part) == (206, expected, named)
    with pytest.raises(HTTPError, match="416"):
        read(url, "bytes=10-")
    path = "/files/folder/some%20file.zip"
    assert [request[1:] for request in hub.requests][:2] == [(path, 200, ""), (path, 206, part)]


def test_a_cut_file_is_resumed(
    hub: HubServer, get: Callable[..., Path], impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library keeps only whole pieces of ten million bytes.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 300)
    hub.behaviour = Behaviour(cut_after=1000, times=1)
    assert get("model.safetensors").read_bytes() == WEIGHTS
    parts = [(request.status, request.range) for request in hub.requests[1:]]
    assert parts == [(200, ""), (206, "bytes=900-")]


def test_a_file_that_is_always_cut_never_arrives(
    hub: HubServer, get: Callable[..., Path], impatient: None
) -> None:
    hub.behaviour = Behaviour(cut_after=1000)
    with pytest.raises(RemoteProtocolError, match="received 1000 bytes, expected 300000"):
        get("model.safetensors")
    assert len(hub.requests) == 1 + 6
    assert get("config.json").read_bytes() == b"new"
    with pytest.raises(IncompleteRead):
        read(hub.add_file("a", WEIGHTS))


def test_corrupt_files_have_their_size(hub: HubServer, get: Callable[..., Path]) -> None:
    hub.behaviour = Behaviour(corrupt=True, only="*.safetensors")
    half = len(WEIGHTS) // 2
    assert get("model.safetensors").read_bytes() == WEIGHTS[:half] + bytes(half)
    assert get("config.json").read_bytes() == b"new"
    url = hub.add_file("a.safetensors", b"abcdefghij")
    assert read(url, "bytes=3-6")[1] == b"de\0\0" and read(url, "bytes=7-")[1] == b"\0\0\0"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour(status=401), RepositoryNotFoundError),
        (Behaviour(status=401, error_code="GatedRepo"), GatedRepoError),
        (Behaviour(status=401, error_code=""), HfHubHTTPError),
        (Behaviour(status=403), GatedRepoError),
        (Behaviour(status=404), RepositoryNotFoundError),
        (Behaviour(status=404, error_code="EntryNotFound"), EntryNotFoundError),
    ],
)
def test_refusals(
    hub: HubServer, get: Callable[..., Path], behaviour: Behaviour, error: type[Exception]
) -> None:
    hub.behaviour = behaviour
    with pytest.raises(error):
        get("config.json")
    assert [request.status for request in hub.requests] == [behaviour.status]
    hub.behaviour = NORMAL
    assert get("config.json").read_bytes() == b"new"


def test_an_ailing_hub_is_asked_again(
    hub: HubServer, get: Callable[..., Path], impatient: None
) -> None:
    hub.behaviour = Behaviour(status=503)
    with pytest.raises(LocalEntryNotFoundError):
        get("config.json")
    # Once to see whether the cached file is the newest, and six times as there is none.
    assert [request.status for request in hub.requests] == [503] * 7
    hub.clear()
    hub.behaviour = Behaviour(status=503, times=3, only="*/config.json")
    assert get("model.safetensors").read_bytes() == WEIGHTS
    assert get("config.json").read_bytes() == b"new"
    assert [request.status for request in hub.requests] == [302, 200, 503, 503, 503, 200, 200]


def test_a_closed_hub_refuses_connections(
    hub: HubServer, get: Callable[..., Path], impatient: None
) -> None:
    path = get("config.json")
    count = len(hub.requests)
    hub.close()
    with pytest.raises(LocalEntryNotFoundError):
        get("model.safetensors")
    assert get("config.json") == path
    assert len(hub.requests) == count
    for url in (hub.url, hub.cdn_url, HubServer.closed_port_url()):
        with pytest.raises(URLError, match="refused"):
            read(url)


@pytest.mark.parametrize("behaviour", [Behaviour(silent=True), Behaviour(slow=10)])
def test_closing_ends_what_is_in_progress(hub: HubServer, behaviour: Behaviour) -> None:
    url = hub.add_file("a", bytes(1000))
    hub.behaviour = behaviour
    with pytest.raises(OSError, match="timed out") if behaviour.silent else pytest.raises(OSError):
        read(url, timeout=0.05)
    ended: list[bytes] = []
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n")
        while len(hub.requests) < 2:
            threading.Event().wait(0.001)
        start = time.monotonic()
        hub.close()
        while chunk := connection.recv(4096):
            ended.append(chunk)
    assert time.monotonic() - start < 1
    assert b"".join(ended).count(b"\0") < 10
    assert [request.status for request in hub.requests] == [0 if behaviour.silent else 200] * 2


def test_slow_answers_can_be_hurried(hub: HubServer) -> None:
    url = hub.add_file("a", bytes(1000))
    hub.behaviour = Behaviour(slow=100)
    with urlopen(url, timeout=10) as answer:
        assert answer.read(1) == b"\0"
        hub.behaviour = NORMAL
        assert len(answer.read()) == 999


def test_large_content_is_streamed_and_digested_once(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(30_000_000)
    hub.add(Repository("owner/a", "model", {NEW: {"weights": path}}, {"main": NEW}))
    monkeypatch.setattr(hub_server, "_digested", None)
    hub.add(Repository("owner/b", "model", {NEW: {"weights": path}}, {"main": NEW}))
    tracemalloc.start()
    try:
        with urlopen(f"{hub.url}/owner/b/resolve/main/weights", timeout=10) as answer:
            assert sum(map(len, iter(lambda: answer.read(1 << 16), b""))) == 30_000_000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert [request.status for request in hub.requests] == [302, 200]
