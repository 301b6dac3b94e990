"""The hub's parquet layout: the real CIFAR, and small files that are wrong in every way."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from experiments.frame.errors import UserError
from experiments.images import parquet
from experiments.images.options import ImageDataset
from experiments.images.sets import ImageSet, fingerprint, load_images

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the CIFAR files are not here")

Dataset = Callable[..., ImageDataset]
Row = dict[str, Any]
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)


def encode(pixels: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, lossless=True)
    return stream.getvalue()


def rows(count: int = 12) -> list[Row]:
    return [
        {"img": {"bytes": encode(PIXELS[i % 12]), "path": None}, "label": i % 10}
        for i in range(count)
    ]


def write(path: Path, content: list[Row], metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(content).replace_schema_metadata(metadata), path)


def both(root: Path, content: list[Row], metadata: dict[str, str] | None = None) -> None:
    for split in ("train", "test"):
        write(root / f"{split}.parquet", content, metadata)


def expect(images: ImageSet, count: int = 12) -> None:
    wanted = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)[torch.arange(count) % 12]
    assert torch.equal(images.pixels, wanted)
    assert images.labels.tolist() == [i % 10 for i in range(count)]


@needs_data
def test_cifar_100_is_read_as_it_is(dataset: Dataset) -> None:
    root = DATA / "cifar100"
    images = load_images(dataset("cifar100", root=str(root)), "test")
    assert images.pixels.shape == (10000, 3, 32, 32)
    assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(torch.bincount(images.labels), torch.full((100,), 100))
    assert images.classes == tuple((root / "classes.txt").read_text().split())
    table = pq.read_table(root / "test.parquet").slice(4321, 3)
    for index, row in enumerate(table.to_pylist(), 4321):
        with Image.open(io.BytesIO(row["img"]["bytes"])) as image:
            wanted = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert torch.equal(images.pixels[index], wanted)
        assert images.labels[index] == row["fine_label"]


@needs_data
def test_cifar_10_has_ten_named_classes_of_equal_size(dataset: Dataset) -> None:
    images = load_images(dataset("cifar10", root=str(DATA / "cifar10")), "test")
    assert torch.equal(torch.bincount(images.labels), torch.full((10,), 1000))
    assert images.classes[0] == "airplane"
    ships = images.pixels[images.labels == images.classes.index("ship")].float().mean((0, 2, 3))
    assert ships[2] > ships[0] + 10  # sea and sky are blue


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("column", ["img", "image"])
@pytest.mark.parametrize("bare", [False, True])
def test_lossless_images_keep_every_pixel(
    tmp_path: Path, dataset: Dataset, form: str, column: str, bare: bool
) -> None:
    encoded = [encode(image, form) for image in PIXELS]
    cells: list[Any] = encoded if bare else [{"bytes": e, "path": "x.png"} for e in encoded]
    both(tmp_path, [{column: cell, "label": i % 10} for i, cell in enumerate(cells)])
    expect(load_images(dataset("cifar10", root=str(tmp_path)), "train"))


@pytest.mark.parametrize("folder", ["", "data"])
def test_shards_are_read_in_order(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(parquet, "CHUNK", 7)
    both(tmp_path / folder, rows(1))
    (tmp_path / folder / "train.parquet").unlink()
    for i, part in enumerate((slice(0, 20), slice(20, 30))):
        write(tmp_path / folder / f"train-0000{i}-of-00002.parquet", rows(30)[part])
    expect(load_images(dataset("cifar10", root=str(tmp_path)), "train"), 30)
    (tmp_path / folder / "train-00001-of-00002.parquet").unlink()
    for call in (fingerprint, lambda config: load_images(config, "test")):
        with pytest.raises(UserError, match=r"has 1 files like train-00000-of-.*, not 2"):
            call(dataset("cifar10", root=str(tmp_path)))


def test_classes_are_named_by_the_file_or_by_a_list_or_numbered(
    tmp_path: Path, dataset: Dataset
) -> None:
    config = dataset("cifar10", root=str(tmp_path))
    both(tmp_path, rows())
    before = fingerprint(config)
    assert load_images(config, "test").classes[9] == "class 9"
    (tmp_path / "classes.txt").write_text("\n".join("abcdefghij") + "\n")
    assert load_images(config, "test").classes == tuple("abcdefghij")
    assert fingerprint(config) != before
    features = {"img": {"_type": "Image"}, "label": {"names": list("ABCDEFGHIJ")}}
    both(tmp_path, rows(), {"huggingface": json.dumps({"info": {"features": features}})})
    assert load_images(config, "test").classes == tuple("ABCDEFGHIJ")


def test_a_fine_label_goes_before_a_label(tmp_path: Path, dataset: Dataset) -> None:
    both(tmp_path, [{**row, "fine_label": 9 - row["label"]} for row in rows()])
    images = load_images(dataset("cifar10", root=str(tmp_path)), "test")
    assert images.labels.tolist() == [9 - i % 10 for i in range(12)]


def changed(row: int, **cells: Any) -> list[Row]:
    content = rows()
    content[row] = {**content[row], **cells}
    return content


def cell(content: bytes | None) -> dict[str, Any]:
    return {"bytes": content, "path": None}


GREY = encode(PIXELS[0, :, :, 0])
LARGE = encode(np.zeros((40, 32, 3), np.uint8))
WRONG_ROWS = {
    "cut": (changed(7, img=cell(encode(PIXELS[7])[:900])), "row 7 is not a whole image (PNG"),
    "noise": (changed(3, img=cell(b"no image")), "row 3 is not a whole image"),
    "empty": (changed(2, img=cell(None)), "row 2 has no image bytes; get the file again"),
    "grey": (changed(4, img=cell(GREY)), "row 4 is an image of 32 x 32 pixels, mode L; expected"),
    "large": (changed(5, img=cell(LARGE)), "row 5 is an image of 32 x 40 pixels, mode RGB"),
    "high": (changed(6, label=10), "row 6 has label 10; dataset.classes=10 allows 0 to 9"),
    "low": (changed(6, label=-1), "row 6 has label -1; dataset.classes=10 allows 0 to 9"),
    "unlabelled": (changed(8, label=None), "row 8 has no label; get the file again"),
    "no rows": (rows()[:0], "has no rows; get the file again"),
}


@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_a_wrong_row_is_named(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr(parquet, "CHUNK", 5)
    content, message = WRONG_ROWS[wrong]
    both(tmp_path, content)
    with pytest.raises(UserError, match=re.escape(f"test.parquet: {message}")) as caught:
        load_images(dataset("cifar10", root=str(tmp_path)), "test")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"picture": b"", "label": 0}],
            "has no image column (img or image), only: picture, label",
        ),
        ([{"img": b"", "kind": 0}], "has no label column (fine_label or label), only: img, kind"),
        ([{"img": "text", "label": 0}], "column img must hold bytes, or a struct with"),
        ([{"img": {"path": "a.png"}, "label": 0}], "column img must hold bytes, or a struct with"),
        ([{"img": b"", "label": 0.5}], "column label must hold whole numbers"),
    ],
)
def test_another_layout_is_refused(
    tmp_path: Path, dataset: Dataset, content: list[Row], message: str
) -> None:
    both(tmp_path, content)
    with pytest.raises(UserError, match=re.escape(f"test.parquet: {message}")):
        load_images(dataset("cifar10", root=str(tmp_path)), "test")


def test_files_that_are_missing_or_cut_or_of_other_classes_are_refused(
    tmp_path: Path, dataset: Dataset
) -> None:
    config = dataset("cifar10", root=str(tmp_path))
    write(tmp_path / "test.parquet", rows())
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError, match=r"has no train\.parquet; put it there"):
            call(config)
    assert fingerprint(config, ("test",))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(
        UserError, match=r"classes\.txt: has 2 classes, not dataset\.classes=10; set"
    ):
        load_images(config, "test")
    whole = (tmp_path / "test.parquet").read_bytes()
    (tmp_path / "test.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"test\.parquet: is not a whole parquet file \(.*\); get"):
        load_images(config, "test")


def test_a_fingerprint_follows_the_content_and_not_the_place(
    tmp_path: Path, dataset: Dataset
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    both(one, rows())
    both(two, rows())
    config = dataset("cifar10", root=str(one))
    assert fingerprint(config) == fingerprint(dataset("cifar10", root=str(two)))
    before = fingerprint(config)
    write(one / "train.parquet", changed(0, label=1))
    assert fingerprint(config) != before
    assert fingerprint(config, ("test",)) == fingerprint(
        dataset("cifar10", root=str(two)), ("test",)
    )
