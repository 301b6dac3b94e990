"""Files of the hub and of other servers: bad networks, full caches, damaged files."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import constants

from experiments.external import downloads
from experiments.external.downloads import Unavailable, web_file
from experiments.external.hub import hub_file, hub_snapshot
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.stopping import catch_signals
from tests.experiments.emulated import emulated_hub, point_to
from tests.experiments.hub_server import NORMAL, Behaviour, HubServer, Repository, commit_of

ROOT = Path(__file__).parents[3]
COMMIT, OTHER = commit_of("one"), commit_of("other")
WEIGHTS = bytes(range(1, 251)) * 4000
SETTINGS = {"config.json": b"{}", "tokenizer.json": b"{}"}
#: Seconds within which a request is given up here; a user waits for `downloads.SILENCE`.
SOON = 0.5


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a model, and little patience with it."""
    monkeypatch.setattr(downloads, "SILENCE", SOON)
    commits = {
        COMMIT: {**SETTINGS, "model.safetensors": WEIGHTS},
        OTHER: {**SETTINGS, "pytorch_model.bin": WEIGHTS, "README.md": b""},
    }
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        server.add(Repository("owner/model", "model", commits, {"main": COMMIT, "old": OTHER}))
        yield server


def weights(**options: str) -> bytes:
    return hub_file("owner/model", "model.safetensors", **options).path.read_bytes()


def parts(cache: Path) -> list[int]:
    """The sizes of partial files."""
    return [path.stat().st_size for path in cache.glob("**/*.incomplete")]


def ranges(hub: HubServer) -> list[str]:
    """What was asked of the host of large files."""
    return [request.range for request in hub.requests if request.path.startswith("/cdn/")]


def test_a_file_is_fetched_once_and_then_nothing_is_asked(hub: HubServer) -> None:
    found = hub_file("owner/model", "model.safetensors")
    assert found.path.read_bytes() == WEIGHTS
    assert (found.commit, found.sha256) == (COMMIT, hashlib.sha256(WEIGHTS).hexdigest())
    hub_snapshot("owner/model", revision=COMMIT)
    hub_snapshot("owner/model", revision=None)
    hub.clear()
    for revision in (None, COMMIT):
        assert hub_file("owner/model", "model.safetensors", revision=revision) == found
        assert hub_snapshot("owner/model", revision=revision).folder == found.path.parent
    hub.close()
    assert hub.requests == [] and weights() == WEIGHTS


def test_of_several_names_the_first_that_is_there_is_taken(hub: HubServer) -> None:
    names = ("model.safetensors", "pytorch_model.bin")
    found = hub_file("owner/model", *names, revision=OTHER)
    assert (found.path.name, found.commit) == ("pytorch_model.bin", OTHER)
    snapshot = hub_snapshot("owner/model", revision="old")
    assert [path.name for path in snapshot.weights] == ["pytorch_model.bin"]
    assert not (snapshot.folder / "README.md").exists()
    with pytest.raises(Unavailable, match="no such file"):
        hub_file("owner/model", "a", "b")


def test_weights_in_parts_are_all_fetched(hub: HubServer) -> None:
    index = b'{"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}'
    files = {**SETTINGS, "model.safetensors.index.json": index}
    parts = {"part-1.safetensors": b"1", "part-2.safetensors": b"2", "part-3.safetensors": b"3"}
    hub.add(Repository("owner/large", "model", {COMMIT: {**files, **parts}}, {"main": COMMIT}))
    found = hub_snapshot("owner/large", revision=None)
    assert [path.read_bytes() for path in found.weights] == [b"1", b"2"]
    outside = b'{"weight_map": {"a": "../../secret"}}'
    files["model.safetensors.index.json"] = outside
    hub.add(Repository("owner/bad", "model", {COMMIT: files}, {"main": COMMIT}))
    with pytest.raises(UserError, match="no file of its folder"):
        hub_snapshot("owner/bad", revision=None)


@pytest.mark.parametrize(
    ("behaviour", "line", "attempts"),
    [
        (Behaviour(status=404), "has no such repository", 1),
        (Behaviour(status=404, error_code="EntryNotFound"), "has no such file", 1),
        (Behaviour(status=401), "hf auth login", 1),
        (Behaviour(status=403), "hf auth login", 1),
        (Behaviour(status=403, error_code=""), "answers 403", 1),
        (Behaviour(status=503), "answers 503", downloads.ATTEMPTS),
        (Behaviour(status=429), "answers 429", downloads.ATTEMPTS),
    ],
)
def test_an_error_of_the_server_is_one_line(
    hub: HubServer, behaviour: Behaviour, line: str, attempts: int
) -> None:
    hub.behaviour = behaviour
    with pytest.raises(Unavailable, match=line) as caught:
        weights()
    assert "\n" not in str(caught.value) and "127.0.0.1" in str(caught.value)
    assert len(hub.requests) == attempts


@pytest.mark.parametrize("times", [1, 2])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(hub: HubServer, times: int) -> None:
    hub.behaviour = Behaviour(status=503, times=times)
    assert weights() == WEIGHTS


def test_a_server_that_refuses_is_given_up_at_once_and_not_asked_again_soon(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(monkeypatch, HubServer.closed_port_url())
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        weights()
    with pytest.raises(Unavailable, match="did not answer before"):
        weights()
    assert time.monotonic() - begun < SOON


def test_a_name_without_an_address_is_one_line(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(monkeypatch, "http://hub.invalid")
    with pytest.raises(Unavailable, match=r"hub\.invalid (cannot be reached|did not answer)"):
        weights()


@pytest.mark.parametrize("only", ["*", "/cdn/*", "/owner/model/resolve/*"])
def test_a_server_that_never_answers_is_given_up(hub: HubServer, only: str) -> None:
    """The limit is time without a byte, and one more look at it."""
    hub.behaviour = Behaviour(silent=True, only=only)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer|cannot be reached"):
        weights()
    assert time.monotonic() - begun < 3 * SOON


def test_a_connection_that_breaks_is_taken_up(hub: HubServer) -> None:
    hub.behaviour = Behaviour(cut_after=600_000, times=1)
    assert weights() == WEIGHTS
    first, second = ranges(hub)
    assert first == "" and 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 600_000


def test_a_part_is_kept_and_the_next_attempt_goes_on_there(hub: HubServer, tmp_path: Path) -> None:
    hub.behaviour = Behaviour(cut_after=600_000)
    with pytest.raises(Unavailable):
        weights()
    (kept,) = parts(tmp_path)
    assert 0 < kept <= 600_000
    hub.behaviour, _ = NORMAL, hub.clear()
    downloads._silent.clear()
    assert weights() == WEIGHTS
    assert ranges(hub) == [f"bytes={kept}-"] and parts(tmp_path) == []


def test_a_part_that_is_longer_than_the_file_is_begun_anew(hub: HubServer, tmp_path: Path) -> None:
    url = hub.add_file("a.bin", WEIGHTS)
    (tmp_path / "a.bin.incomplete").write_bytes(WEIGHTS + b"more")
    digests = {"sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    assert web_file(url, tmp_path / "a.bin", digests=digests).read_bytes() == WEIGHTS


def test_a_stop_ends_a_slow_download_at_once_and_keeps_its_part(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.behaviour = Behaviour(slow=200_000)
    timer = threading.Timer(0.5, signal.raise_signal, (signal.SIGTERM,))
    with pytest.raises(Interrupted, match=r"model\.safetensors of owner/model"), catch_signals():
        timer.start()
        begun = time.monotonic()
        weights()
    assert time.monotonic() - begun < 1.5
    (kept,) = parts(tmp_path)
    assert 0 < kept < len(WEIGHTS)
    hub.behaviour = NORMAL
    assert weights() == WEIGHTS


def test_a_slow_server_is_no_silent_one(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SILENCE", 0.3)
    hub.behaviour = Behaviour(slow=len(WEIGHTS))  # a second
    assert weights() == WEIGHTS


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_silent_server_does_not_keep_a_process_from_ending(
    hub: HubServer, tmp_path: Path, signum: int
) -> None:
    """A whole run: its status is that of a stop, not that of a server that was given up."""
    hub.behaviour = Behaviour(silent=True)
    words = ("task=fairness", "model=causal_lm", "model.source=owner/model", "logger=none")
    process = subprocess.Popen(
        [sys.executable, "run.py", *words, "stage=generate", f"results={tmp_path}/results"],
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, it is ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while not hub.requests and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signum)
    _, lines = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[signum], lines
    assert len(lines.splitlines()) <= 5, lines


def test_what_the_network_damages_is_refused_and_fetched_anew(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.behaviour = Behaviour(corrupt=True)
    with pytest.raises(UserError, match="damaged") as caught:
        weights()
    assert "\n" not in str(caught.value) and parts(tmp_path) == []
    hub.behaviour = NORMAL
    assert weights() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_file_of_the_cache_is_refused(hub: HubServer, name: str) -> None:
    """Of the right size: huggingface_hub would take it."""
    path = hub_snapshot("owner/model", revision=None).folder / name
    content = path.read_bytes()
    path.resolve().write_bytes(bytes(len(content)))
    for use in (
        lambda: hub_file("owner/model", name),
        lambda: hub_snapshot("owner/model", revision=None),
    ):
        with pytest.raises(UserError, match=f"is damaged .*delete {path.resolve()}"):
            use()


def test_an_expected_digest_is_compared_and_finds_the_file_of_any_commit(hub: HubServer) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert weights(sha256=digest) == WEIGHTS
    hub.close()
    assert weights(sha256=digest, revision=commit_of("never fetched")) == WEIGHTS
    with pytest.raises(UserError, match="is another file"):
        weights(sha256="0" * 64)


def test_a_forbidden_network_is_named(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for use in (weights, lambda: hub_snapshot("owner/model", revision=None)):
        with pytest.raises(Unavailable, match="HF_HUB_OFFLINE=1 forbids the network"):
            use()
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE=1 forbids the network"):
        web_file(hub.add_file("a", b"a"), Path("nowhere") / "a", digests={})
    assert hub.requests == []


def test_a_cache_that_cannot_be_written_is_named(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        weights()


def test_of_several_at_once_one_downloads_and_the_others_wait_for_it(hub: HubServer) -> None:
    hub.behaviour = Behaviour(slow=2 * len(WEIGHTS))
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(weights())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WEIGHTS] * 3 and len(ranges(hub)) == 1


def test_nothing_but_our_lines_is_logged(
    hub: HubServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(downloads, "LARGE", 1000)
    hub.behaviour = Behaviour(slow=4 * len(WEIGHTS))
    weights()
    assert {record.name for record in caplog.records} == {"experiments.external.downloads"}
    assert caplog.messages == ["fetching model.safetensors of owner/model, 1 MB"]


def test_files_of_other_servers_are_compared_with_their_digests(
    hub: HubServer, tmp_path: Path
) -> None:
    url, path = hub.add_file("a.pth", WEIGHTS), tmp_path / "deep" / "a.pth"
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert web_file(url, path, digests={"sha256": digest[:8]}).read_bytes() == WEIGHTS
    hub.clear()
    web_file(url, path, digests={"md5": hashlib.md5(WEIGHTS).hexdigest()})
    assert hub.requests == []
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(UserError, match=f"delete {path}"):
        web_file(url, path, digests={"sha256": digest[:8]})
    with pytest.raises(UserError, match="damaged it"):
        web_file(url, tmp_path / "b.pth", digests={"sha256": "0" * 8})
    with pytest.raises(Unavailable, match="no such file"):
        web_file(f"{url}x", tmp_path / "c.pth", digests={})
