"""Where CIFAR comes from: the hub, the authors' server, or what `hf download` leaves."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from experiments.external import downloads
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.stopping import StopSignal
from experiments.images import cifar
from experiments.images.cifar import LAYOUTS, fetch
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint, load_images
from tests.experiments.emulated import emulated_hub, point_to, publish
from tests.experiments.hub_server import Behaviour, HubServer
from tests.experiments.images.test_cifar import write_binary
from tests.experiments.images.test_parquet import expect, rows

Dataset = Callable[..., ImageDataset]
HUB_PATHS = {"cifar10": "plain_text", "cifar100": "cifar100"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with both data sets; the current folder is empty, and the authors' server is down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cifar, "SERVER", HubServer.closed_port_url() + "/kriz/")
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        for kind, folder in HUB_PATHS.items():
            files = {f"{folder}/{name}-00000-of-00001.parquet": table(name) for name in SPLITS}
            publish(server, f"uoft-cs/{kind}", files, "dataset")
        yield server


SPLITS = ("train", "test")


def table(split: str) -> bytes:
    """Return a parquet file in the hub's layout; the training split is longer."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(12 if split == "test" else 24)), buffer)
    return buffer.getvalue()


def archive(folder: Path, kind: str) -> bytes:
    """Return an archive like the authors', as an unpacked folder, too."""
    write_binary(folder / LAYOUTS[kind].folder, kind)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as content:
        content.add(folder / LAYOUTS[kind].folder, LAYOUTS[kind].folder)
    return buffer.getvalue()


def serve_archive(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, content: bytes, md5: str = ""
) -> None:
    layout = LAYOUTS["cifar10"]
    url = hub.add_file(layout.archive, content)
    monkeypatch.setattr(cifar, "SERVER", url.removesuffix(layout.archive))
    digest = md5 or hashlib.md5(content).hexdigest()
    monkeypatch.setitem(LAYOUTS, "cifar10", layout._replace(md5=digest))


@pytest.mark.parametrize("kind", HUB_PATHS)
def test_the_hubs_files_are_read_in_its_cache(hub: HubServer, dataset: Dataset, kind: str) -> None:
    if kind == "cifar10":
        expect(load_images(dataset(kind), "test"))
        asked = {request.path.rpartition("/")[2] for request in hub.requests}
        assert asked == {"test-00000-of-00001.parquet"}  # not the other, which is five times larger
        expect(load_images(dataset(kind), "train"), 24)
    fetch(dataset(kind))
    hub.clear()
    fetch(dataset(kind))
    before = fingerprint(dataset(kind))
    assert hub.requests == [] and not Path("data").exists()
    # A folder of the same files, in whichever layout, is the same data.
    for folder in ("flat", f"by_config/{HUB_PATHS[kind]}", "converted/default", "converted"):
        for split in SPLITS:
            converted = folder.startswith("converted")
            path = Path(folder, *([split, "0000"] if converted else [f"{split}-00000-of-00001"]))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".parquet").write_bytes(table(split))
    for root in ("flat", "by_config", "converted"):
        assert fingerprint(dataset(kind, root=root)) == before
        assert fingerprint(dataset(kind, root=root), ("test",)) == fingerprint(
            dataset(kind), ("test",)
        )


def test_what_hf_download_leaves_at_the_usual_place_is_read(
    hub: HubServer, dataset: Dataset
) -> None:
    hub.behaviour = Behaviour(status=503)
    folder = Path("data/cifar10/plain_text")
    folder.mkdir(parents=True)
    for split in SPLITS:
        (folder / f"{split}-00000-of-00001.parquet").write_bytes(table(split))
    expect(load_images(dataset("cifar10"), "test"))
    fetch(dataset("cifar10"))
    assert hub.requests == []


@pytest.mark.parametrize("status", [404, 503])
def test_the_archive_is_fetched_where_the_hub_has_nothing(
    hub: HubServer,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: int,
) -> None:
    hub.behaviour = Behaviour(status=status, only="/datasets/*")
    serve_archive(hub, monkeypatch, archive(tmp_path / "own", "cifar10"))
    found = load_images(dataset("cifar10"), "train")
    own = dataset("cifar10", root=str(tmp_path / "own"))
    assert torch.equal(found.pixels, load_images(own, "train").pixels)
    assert fingerprint(dataset("cifar10")) == fingerprint(own)
    hub.clear()
    fetch(dataset("cifar10"))
    assert hub.requests == []
    left = {path.name for path in Path("data/cifar10").iterdir() if path.suffix != ".lock"}
    assert left == {"cifar-10-batches-bin"}


def test_a_damaged_archive_is_refused(
    hub: HubServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.behaviour = Behaviour(status=404, only="/datasets/*")
    serve_archive(hub, monkeypatch, b"not the archive", "0" * 32)
    with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz: its md5 is .* and not 0000"):
        fetch(dataset("cifar10"))
    serve_archive(hub, monkeypatch, b"no archive")
    with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz: cannot be unpacked") as error:
        fetch(dataset("cifar10"))
    assert "\n" not in str(error.value)


def test_a_damaged_file_of_the_hub_is_refused(hub: HubServer, dataset: Dataset) -> None:
    fetch(dataset("cifar10"))
    path = next(Path("cache").rglob("test-*.parquet")).resolve()
    path.write_bytes(bytes(len(path.read_bytes())))
    for call in (fetch, fingerprint, lambda config: load_images(config, "test")):
        with pytest.raises(UserError, match=f"is damaged .* delete {path} and run"):
            call(dataset("cifar10"))


@pytest.mark.parametrize("way", ["refused", "silent", "offline"])
def test_both_servers_down_is_one_line(
    hub: HubServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from huggingface_hub import constants

    if way == "refused":
        point_to(monkeypatch, HubServer.closed_port_url())
    elif way == "silent":
        monkeypatch.setattr(downloads, "SILENCE", 0.2)
        hub.behaviour = Behaviour(silent=True)
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for call in (fetch, fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError) as error:
            call(dataset("cifar100"))
        text = str(error.value)
        assert "\n" not in text
        for part in (
            "uoft-cs/cifar100 cannot be fetched",
            "cifar-100-binary.tar.gz",
            "`hf download uoft-cs/cifar100 --repo-type dataset --local-dir FOLDER`",
            "dataset.root=FOLDER",
        ):
            assert part in text
        assert ("HF_HUB_OFFLINE=1" in text) == (way == "offline")


def test_who_waits_for_another_process_can_be_stopped(
    hub: HubServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    from experiments.frame import stopping

    point_to(monkeypatch, HubServer.closed_port_url())
    stop = StopSignal()
    stop.received = True
    Path("data/cifar10").mkdir(parents=True)
    with FileLock("data/cifar10/.download.lock"), monkeypatch.context() as patch:
        patch.setattr(stopping, "_active", [stop])
        patch.setattr(cifar, "hub_file", refuse)
        with pytest.raises(Interrupted, match="another process held data/cifar10"):
            fetch(dataset("cifar10"))


def refuse(*_: object, **__: object) -> None:
    raise downloads.Unavailable("not today")


def test_other_data_are_not_fetched(hub: HubServer, dataset: Dataset) -> None:
    fetch(dataset("symbols"))
    assert hub.requests == []


def test_a_folder_without_data_is_one_line_with_what_to_place(
    hub: HubServer, dataset: Dataset, tmp_path: Path
) -> None:
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError) as error:
            call(dataset("cifar10", root=str(tmp_path)))
        text = str(error.value)
        assert "\n" not in text and hub.requests == []
        for part in (
            f"dataset.root={tmp_path}: has neither plain_text/train-00000-of-00001.parquet",
            f"hf download uoft-cs/cifar10 --repo-type dataset --local-dir {tmp_path}",
            "nor cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
        ):
            assert part in text
    with pytest.raises(UserError, match=r"dataset\.root=.*/none: no such folder"):
        fingerprint(dataset("cifar10", root=str(tmp_path / "none")))
