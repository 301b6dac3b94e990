"""Folders of images: what is read, and every way in which a folder can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from experiments.frame.errors import UserError
from experiments.images import folder
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint, load_images, open_images

Dataset = Callable[..., ImageDataset]
RNG = np.random.default_rng(0)


def save(path: Path, height: int = 40, width: int = 60, mode: str = "RGB") -> Image.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
    image.save(path)
    return image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, cats and dogs, two images of each per split."""
    for split in ("train", "test"):
        for name in ("dog", "cat"):
            for number in range(2):
                save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def make(dataset: Dataset, root: Path, classes: int = 2) -> ImageDataset:
    return dataset("images", root=str(root), classes=classes, size=24)


def refuses(config: ImageDataset, message: str, split: str = "test") -> None:
    """Loading and, as no image is at fault, the fingerprint end with the same line."""
    with pytest.raises(UserError, match=message) as caught:
        load_images(config, split)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=message):
        fingerprint(config)


def test_classes_are_sorted_and_files_too(dataset: Dataset, root: Path) -> None:
    (root / "test" / "cat" / "notes.txt").write_text("not an image")
    (root / "test" / ".hidden").mkdir()
    images = load_images(make(dataset, root), "test")
    assert (images.classes, images.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    assert images.pixels.shape == (4, 3, 24, 24)
    assert images.pixels.dtype == torch.uint8


@pytest.mark.parametrize(("height", "width"), [(40, 60), (61, 33), (24, 24), (10, 17), (23, 100)])
def test_the_cut_is_torchvisions(dataset: Dataset, root: Path, height: int, width: int) -> None:
    image = save(root / "train" / "cat" / "0.png", height, width)
    cut = transforms.Compose(
        [
            transforms.Resize(24, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(24),
            transforms.PILToTensor(),
        ]
    )
    images = load_images(make(dataset, root), "train")
    assert torch.equal(images.pixels[0], cut(image))


def test_grey_transparent_and_turned_images_are_read(dataset: Dataset, root: Path) -> None:
    folder = root / "test" / "cat"
    grey = save(folder / "0.png", 24, 24, "L")
    clear = save(folder / "1.png", 24, 24, "RGBA")
    lying = Image.fromarray(RNG.integers(0, 256, (24, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    lying.save(folder / "2.png", exif=exif)
    pixels = load_images(make(dataset, root), "test").pixels
    for channel in pixels[0]:
        assert torch.equal(channel, torch.from_numpy(np.array(grey)))
    assert torch.equal(pixels[1], torch.from_numpy(np.array(clear)[..., :3]).permute(2, 0, 1))
    wanted = torch.from_numpy(np.rot90(np.array(lying), -1).copy()).permute(2, 0, 1)
    assert torch.equal(pixels[2], wanted)


def test_val_stands_for_test(dataset: Dataset, root: Path) -> None:
    config = make(dataset, root)
    wanted, digest = load_images(config, "test"), fingerprint(config)
    (root / "test").rename(root / "val")
    assert torch.equal(load_images(config, "test").pixels, wanted.pixels)
    assert fingerprint(config) == digest


def test_a_fingerprint_follows_names_and_sizes(dataset: Dataset, root: Path) -> None:
    config = make(dataset, root)
    before = fingerprint(config)
    save(root / "test" / "cat" / "0.png", 41, 60)
    after = fingerprint(config)
    (root / "test" / "cat" / "0.png").rename(root / "test" / "cat" / "3.png")
    assert len({before, after, fingerprint(config)}) == 3
    (root / "train").rename(root / "elsewhere")
    assert fingerprint(config, ("test",))


def test_missing_folders_are_refused(dataset: Dataset, root: Path, tmp_path: Path) -> None:
    config = make(dataset, root)
    unset = dataset("images", classes=2)
    refuses(unset, r"dataset=images needs dataset\.root=FOLDER; expected train/<class>/\* and")
    refuses(
        make(dataset, root / "none"), r"dataset\.root=.*none: no such folder; expected train/<cl"
    )
    refuses(make(dataset, root / "train"), r"has no folder .*; expected train/.*, found: cat, dog$")
    (root / "empty").mkdir()
    refuses(make(dataset, root / "empty"), r"expected train/<class>/\* .*, found: no folders$")
    (root / "test").rename(root / "tests")
    refuses(config, r"has no folder test or val; expected .*, found: empty, tests, train$")
    (root / "test").mkdir()
    refuses(config, r"test: has no folders; expected train/<class>/\* and test/<class>/\*")


def test_classes_that_do_not_fit_are_refused(dataset: Dataset, root: Path) -> None:
    refuses(
        make(dataset, root, 3), r"has 2 classes, not dataset\.classes=3; set dataset\.classes=2"
    )
    (root / "test" / "dog").rename(root / "test" / "fox")
    refuses(make(dataset, root), r"its classes are not those of .*train; only one has: dog, fox$")


def test_a_class_without_images_is_refused(dataset: Dataset, root: Path) -> None:
    for path in (root / "test" / "dog").iterdir():
        path.rename(path.with_suffix(".txt"))
    refuses(make(dataset, root), r"test/dog: has no images \(\.bmp .*\); add some or remove it")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_cut_image_is_named(dataset: Dataset, root: Path, share: float) -> None:
    path = root / "test" / "dog" / "1.png"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"dog/1\.png: is not a whole image; replace or remove it"):
        load_images(make(dataset, root), "test")


def test_a_part_is_that_part_of_the_whole(dataset: Dataset, root: Path) -> None:
    save(root / "test" / "cat" / "more" / "a.png", 24, 31)
    config = make(dataset, root)
    whole, part = load_images(config, "test"), open_images(config, "test")
    assert (len(part), part.classes) == (5, whole.classes)
    assert torch.equal(part.labels, whole.labels)
    for start, stop in ((0, 5), (1, 4), (4, 5), (3, 3), (0, 1)):
        assert torch.equal(part.read(start, stop), whole.pixels[start:stop])


def test_only_the_images_asked_for_are_decoded(dataset: Dataset, root: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        (root / "test" / name).write_bytes(b"not an image")
    images = open_images(make(dataset, root), "test")
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert images.read(2, 3).shape == (1, 3, 24, 24)
    with pytest.raises(UserError, match=r"dog/1\.png: is not a whole image; replace or remove it"):
        images.read(2, 4)


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, ending: str) -> None:
    """Pillow's own conversion to RGB would make all values from 255 on white."""
    path = tmp_path / f"ramp.{ending}"
    if ending == "pgm":
        path.write_bytes(b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes())
    else:
        Image.fromarray(RAMP).save(path)
    pixels = np.asarray(folder.open_image(path))
    assert pixels.shape == (256, 256, 3)
    expected = (RAMP / 257).round()
    assert all(np.array_equal(pixels[..., channel], expected) for channel in range(3))


def test_a_tiff_whose_least_number_is_white_is_turned_round(tmp_path: Path) -> None:
    path = tmp_path / "inverted.tif"
    Image.fromarray(RAMP).save(path, tiffinfo={262: 0})
    pixels = np.asarray(folder.open_image(path))
    assert np.array_equal(pixels[..., 0], (255 - RAMP / 257).round())


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_numbers_without_a_known_white_are_refused_by_name(
    tmp_path: Path, kind: type, mode: str
) -> None:
    path = tmp_path / "depth.tiff"
    Image.fromarray((RAMP / 65535).astype(kind)).save(path)
    line = rf"depth\.tiff: its pixels are of Pillow's mode {mode}, .* save it with uns"
    with pytest.raises(UserError, match=line):
        folder.open_image(path)


def tiff(values: np.ndarray, kind: int) -> bytes:
    """Return a grey TIFF of two rows; 1, 2 and 3 are the kinds of numbers without and with a sign,
    and of floating-point ones.
    """
    data, (height, width) = values.tobytes(), values.shape
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 1, 273: 0, 277: 1}
    tags |= {278: height, 279: len(data), 339: kind}
    start = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack("<HHII", n, 4, 1, start if n == 273 else v) for n, v in tags.items()]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + b"".join(entries) + bytes(4) + data


@pytest.mark.parametrize(
    ("kind", "number", "line"),
    [
        (np.int8, 2, "signed numbers of 8 bits"),
        (np.float16, 3, "floating-point numbers of 16 bits"),
        (np.float64, 3, "floating-point numbers of 64 bits"),
    ],
)
def test_numbers_that_pillow_wraps_or_does_not_know_are_refused_by_name(
    tmp_path: Path, kind: type, number: int, line: str
) -> None:
    path, values = tmp_path / "odd.tif", np.array([[-128, -1, 0], [1, 2, 127]])
    path.write_bytes(tiff(values.clip(0).astype(np.uint8), 1))
    assert np.asarray(folder.open_image(path))[..., 0].tolist() == [[0, 0, 0], [1, 2, 127]]
    path.write_bytes(tiff(values.astype(kind), number))
    with pytest.raises(UserError, match=rf"odd\.tif: its pixels are {line}, whose .* not known"):
        folder.open_image(path)
    path.write_bytes(tiff(values.astype(np.uint8), 1)[:-3])
    with pytest.raises(UserError, match=r"odd\.tif: is not a whole image"):
        folder.open_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_become_red_green_and_blue(tmp_path: Path, mode: str) -> None:
    image = Image.linear_gradient("L").convert(mode)
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert np.array_equal(np.asarray(folder.open_image(path)), expected)
    assert expected.min() < 20 and expected.max() > 235
