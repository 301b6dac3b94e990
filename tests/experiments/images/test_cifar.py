"""The binary version of CIFAR, on files that the tests write, and its download, without network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.datasets import utils

from experiments.errors import UserError
from experiments.images.cifar import BINARY
from experiments.images.sections import ImageDataset
from experiments.images.sets import fingerprint, load_images

Dataset = Callable[..., ImageDataset]
NAMES = {10: [f"thing {i}" for i in range(10)], 100: [f"thing {i}" for i in range(100)]}
KINDS = {"cifar10": 10, "cifar100": 100}


def write_binary(folder: Path, kind: str, per_file: int = 20) -> np.ndarray:
    """Write random records; returns those of the training split, [n, bytes]."""
    layout, classes = BINARY[kind], KINDS[kind]
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    parts = {}
    for split, names in layout.files.items():
        parts[split] = []
        for name in names:
            records = rng.integers(0, 256, (per_file, layout.label_bytes + 3072), np.uint8)
            records[:, layout.label_bytes - 1] = rng.integers(0, classes, per_file)
            records.tofile(folder / name)
            parts[split].append(records)
    (folder / layout.names).write_text("\n".join(NAMES[classes]) + "\n\n")
    return np.concatenate(parts["train"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", [False, True])
def test_records_become_images(tmp_path: Path, dataset: Dataset, kind: str, inside: bool) -> None:
    layout, folder = BINARY[kind], tmp_path / BINARY[kind].folder
    records = write_binary(folder, kind)
    config = dataset(kind, root=str(folder if inside else tmp_path))
    images = load_images(config, "train")
    assert images.classes == tuple(NAMES[KINDS[kind]])
    assert images.labels.tolist() == records[:, layout.label_bytes - 1].tolist()
    plane = records[5, layout.label_bytes + 1024 : layout.label_bytes + 2048]
    assert torch.equal(images.pixels[5, 1], torch.from_numpy(plane.reshape(32, 32)))
    assert load_images(config, "test").pixels.shape == (20, 3, 32, 32)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(config))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused(tmp_path: Path, dataset: Dataset, kind: str) -> None:
    layout, folder = BINARY[kind], tmp_path / BINARY[kind].folder
    write_binary(folder, kind)
    config = dataset(kind, root=str(tmp_path))
    path = folder / layout.files["train"][-1]
    content = path.read_bytes()
    for cut in (content[:-1], b""):
        path.write_bytes(cut)
        message = f"{path.name}: {len(cut)} bytes are not whole records .* delete {folder} and get"
        with pytest.raises(UserError, match=message):
            load_images(config, "train")
    size = layout.label_bytes + 3072
    bad = bytearray(content)
    bad[2 * size + layout.label_bytes - 1] = 200
    path.write_bytes(bad)
    with pytest.raises(UserError, match=rf"{path.name}: row 2 has label 200; .* allows 0 to"):
        load_images(config, "train")
    path.unlink()
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError, match=f"{path.name}: no such file; delete"):
            call(config)


def test_another_size_or_number_of_classes_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    write_binary(tmp_path / BINARY["cifar10"].folder, "cifar10")
    with pytest.raises(UserError, match=r"have 32 x 32 pixels; set dataset\.size=32"):
        load_images(dataset("cifar10", root=str(tmp_path), size=64), "test")
    with pytest.raises(UserError, match=r"has 10 classes, not dataset\.classes=12; set"):
        load_images(dataset("cifar10", root=str(tmp_path), classes=12), "test")


def test_a_given_folder_is_never_filled_by_a_download(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "download_and_extract_archive", None)
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError, match=r"neither train\.parquet and .* nor cifar-10-batches-"):
            call(dataset("cifar10", root=str(tmp_path)))
        with pytest.raises(UserError, match=r"dataset\.root=.*/none: no such folder"):
            call(dataset("cifar10", root=str(tmp_path / "none")))


def test_a_download_that_fails_says_how_to_get_the_data(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise URLError("no network\nat all")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(utils, "download_and_extract_archive", fail)
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError) as caught:
            call(dataset("cifar100"))
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        for part in ("cifar-100-binary.tar.gz", "uoft-cs/cifar100", "dataset.root=FOLDER"):
            assert part in message


def test_a_download_happens_once_and_goes_to_data(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def deliver(url: str, root: str, *, extract_root: str, **options: Any) -> None:
        calls.append((url, options["md5"]))
        write_binary(Path(extract_root) / "cifar-10-batches-bin", "cifar10")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(utils, "download_and_extract_archive", deliver)
    digest = fingerprint(dataset("cifar10"))
    assert len(load_images(dataset("cifar10"), "train").labels) == 100
    assert digest == fingerprint(dataset("cifar10", root="data/cifar10"))
    layout = BINARY["cifar10"]
    assert calls == [(f"https://www.cs.toronto.edu/~kriz/{layout.archive}", layout.md5)]
    found = {path.name for path in (tmp_path / "data" / "cifar10").iterdir()}
    assert found == {"cifar-10-batches-bin", ".download.lock"}
