"""The binary version of CIFAR, on files that the tests write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.frame.errors import UserError
from experiments.images.cifar import LAYOUTS
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint, load_images

Dataset = Callable[..., ImageDataset]
NAMES = {10: [f"thing {i}" for i in range(10)], 100: [f"thing {i}" for i in range(100)]}
KINDS = {"cifar10": 10, "cifar100": 100}


def write_binary(folder: Path, kind: str, per_file: int = 20) -> np.ndarray:
    """Write random records; returns those of the training split, [n, bytes]."""
    layout, classes = LAYOUTS[kind], KINDS[kind]
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
    layout, folder = LAYOUTS[kind], tmp_path / LAYOUTS[kind].folder
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
    layout, folder = LAYOUTS[kind], tmp_path / LAYOUTS[kind].folder
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
    write_binary(tmp_path / LAYOUTS["cifar10"].folder, "cifar10")
    with pytest.raises(UserError, match=r"have 32 x 32 pixels; set dataset\.size=32"):
        load_images(dataset("cifar10", root=str(tmp_path), size=64), "test")
    with pytest.raises(UserError, match=r"has 10 classes, not dataset\.classes=12; set"):
        load_images(dataset("cifar10", root=str(tmp_path), classes=12), "test")
