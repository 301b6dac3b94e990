"""ImageNet-V2: the order of its classes, its archive, hostile archives, and what can be missing."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from experiments.frame.errors import UserError
from experiments.images import folder
from experiments.images.arrays import SPLITS
from experiments.images.cifar import LAYOUTS
from experiments.images.imagenet_v2 import ARCHIVE, FOLDER
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint, load_images, open_images

Dataset = Callable[..., ImageDataset]
FEW = 12  # classes: enough for 10 to stand behind 9


def colour(number: int) -> tuple[int, int, int]:
    return number // 256, number % 256, 77


def picture(number: int, width: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 8), colour(number)).save(stream, "PNG")
    return stream.getvalue()


def fill(base: Path, classes: int = FEW) -> Path:
    """Write one picture for each class; its colour tells the number."""
    for number in range(classes):
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "0a.png").write_bytes(picture(number))
    return base


def pack(
    root: Path, members: dict[str, bytes], *special: tarfile.TarInfo, mode: str = "gz"
) -> Path:
    """Write an archive with files, and with members that have no content before them."""
    root.mkdir(exist_ok=True)
    with tarfile.open(root / ARCHIVE, f"w:{mode}") as archive:  # type: ignore[call-overload]
        for member in special:
            archive.addfile(member)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return root / ARCHIVE


def pictures(classes: int = FEW) -> dict[str, bytes]:
    return {f"{FOLDER}/{number}/0a.png": picture(number) for number in range(classes)}


def make(dataset: Dataset, root: Path, classes: int = FEW) -> ImageDataset:
    return dataset("imagenet_v2", root=str(root), classes=classes, size=8)


def digest(config: ImageDataset) -> str:
    return fingerprint(config, ("test",))


def refuses(config: ImageDataset, message: str) -> None:
    """Opening, loading and the fingerprint end with the same line."""
    for call in (open_images, load_images, lambda config, _: digest(config)):
        with pytest.raises(UserError, match=message) as caught:
            call(config, "test")  # type: ignore[operator]
        assert len(str(caught.value).splitlines()) == 1


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("thousand") / FOLDER, 1000)


def test_a_thousand_folders_are_in_the_order_of_their_numbers(
    dataset: Dataset, thousand: Path
) -> None:
    config = dataset("imagenet_v2", root=str(thousand), size=8)
    images = load_images(config, "test")
    assert images.classes == tuple(str(number) for number in range(1000))
    assert torch.equal(images.labels, torch.arange(1000))
    wanted = torch.tensor([colour(number) for number in range(1000)], dtype=torch.uint8)
    assert torch.equal(images.pixels, wanted[:, :, None, None].expand(-1, -1, 8, 8))
    above = dataset("imagenet_v2", root=str(thousand.parent), size=8)
    assert torch.equal(load_images(above, "test").pixels, images.pixels)
    assert digest(above) == digest(config)


def test_files_of_a_class_are_in_the_order_of_their_names(dataset: Dataset, tmp_path: Path) -> None:
    base = fill(tmp_path)
    for position, name in enumerate(("b.png", "0b.png", "a.png")):
        (base / "10" / name).write_bytes(picture(500 + position))
    (base / "10" / "notes.txt").write_text("not an image")
    (base / ".cache").mkdir()
    images = load_images(make(dataset, base), "test")
    assert images.labels.tolist() == [*range(10), 10, 10, 10, 10, 11]
    assert images.pixels[10:14, 1, 0, 0].tolist() == [10, 501 % 256, 502 % 256, 500 % 256]


def test_the_cut_is_that_of_other_folders(dataset: Dataset, tmp_path: Path) -> None:
    base = fill(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (40, 61, 3), np.uint8)
    image = Image.fromarray(noise)
    image.save(base / "3" / "0a.png")
    cut = transforms.Compose(
        [
            transforms.Resize(24, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(24),
            transforms.PILToTensor(),
        ]
    )
    config = dataset("imagenet_v2", root=str(base), classes=FEW, size=24)
    assert torch.equal(open_images(config, "test").read(3, 4)[0], cut(image))


def test_only_the_images_asked_for_are_decoded(
    dataset: Dataset, thousand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    decode = folder._decode

    def count(path: Path, size: int) -> Any:
        decoded.append(path.parent.name)
        return decode(path, size)

    monkeypatch.setattr(folder, "_decode", count)
    images = open_images(make(dataset, thousand, 1000), "test")
    assert (len(images), decoded) == (1000, [])
    images.read(9, 12)
    assert decoded == ["9", "10", "11"]
    images.read(10, 11)
    assert decoded == ["9", "10", "11", "10"]


def sets(kind: str, dataset: Dataset, root: Path) -> ImageDataset:
    """Make a small set of a kind."""
    if kind == "pictograms":
        return dataset("symbols", per_class_train=1, per_class_test=1)
    if kind == "imagenet_v2":
        return make(dataset, fill(root))
    if kind == "folder":
        for split in SPLITS:
            fill(root / split)
        return dataset("images", root=str(root), classes=FEW, size=8)
    layout = LAYOUTS[kind]
    classes = int(kind.removeprefix("cifar"))
    records = np.random.default_rng(0).integers(0, classes, (12, layout.label_bytes + 3072))
    for name in {name for names in layout.files.values() for name in names}:
        records.astype(np.uint8).tofile(root / name)
    (root / layout.names).write_text("\n".join(f"thing {i}" for i in range(classes)))
    return dataset(kind, root=str(root))


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "folder", "imagenet_v2", "pictograms"])
def test_parts_are_those_of_the_whole(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    config = sets(kind, dataset, tmp_path)
    whole, part = load_images(config, "test"), open_images(config, "test")
    assert len(part) == len(whole.labels) == len(whole.pixels) == 12
    assert torch.equal(part.labels, whole.labels)
    assert (part.labels.dtype, part.classes) == (torch.int64, whole.classes)
    for start, stop in ((0, 12), (2, 7), (7, 7), (11, 12)):
        pixels = part.read(start, stop)
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, whole.pixels[start:stop])


@pytest.mark.parametrize("mode", ["gz", ""])
def test_an_archive_is_unpacked_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    root = tmp_path / "root"
    top = tarfile.TarInfo(f"{FOLDER}/")
    top.type, top.mode = tarfile.DIRTYPE, 0
    pack(root, pictures(), top, mode=mode)
    (root / f".{FOLDER}.partial" / FOLDER / "99").mkdir(parents=True)  # of a killed process
    images = load_images(make(dataset, root), "test")
    assert images.pixels[:, 1, 0, 0].tolist() == images.labels.tolist() == list(range(FEW))
    assert {path.name for path in root.iterdir()} == {ARCHIVE, FOLDER, ".unpack.lock"}
    monkeypatch.setattr(tarfile, "open", None)
    other = fill(tmp_path / "other")
    assert digest(make(dataset, root)) == digest(make(dataset, other))
    (other / "3" / "0a.png").write_bytes(picture(4))
    assert digest(make(dataset, root)) != digest(make(dataset, other))


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


HOSTILE = {
    "absolute": ("/tmp/equitune-evil.png", None),
    "parent": (f"{FOLDER}/../../evil.png", None),
    "parent inside": (f"{FOLDER}/0/../1/evil.png", None),
    "symbolic link": (f"{FOLDER}/link", special(f"{FOLDER}/link", tarfile.SYMTYPE, "../../..")),
    "absolute link": (f"{FOLDER}/link", special(f"{FOLDER}/link", tarfile.SYMTYPE, "/tmp")),
    "hard link": (f"{FOLDER}/link", special(f"{FOLDER}/link", tarfile.LNKTYPE, "../../secret")),
    "link inside": (f"{FOLDER}/link", special(f"{FOLDER}/link", tarfile.SYMTYPE, "0")),
    "device": (f"{FOLDER}/pipe", special(f"{FOLDER}/pipe", tarfile.FIFOTYPE)),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_an_archive_that_leaves_its_folder_is_refused(
    dataset: Dataset, tmp_path: Path, hostile: str
) -> None:
    name, member = HOSTILE[hostile]
    root = tmp_path / "root"
    (tmp_path / "secret").write_text("secret")
    if member is None:
        pack(root, {**pictures(), name: b"evil"})
    else:
        pack(root, {**pictures(), f"{name}/evil.png": b"evil"}, member)
    refuses(make(dataset, root), rf"{ARCHIVE}: cannot be unpacked \('{re.escape(name)}' .*\); get")
    assert {path.name for path in root.iterdir()} == {ARCHIVE, ".unpack.lock"}
    assert {path.name for path in tmp_path.iterdir()} == {"root", "secret"}
    assert not Path("/tmp/equitune-evil.png").exists()


def test_what_is_no_whole_archive_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    config = make(dataset, tmp_path)
    path = pack(tmp_path, pictures())
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"version https://git-lfs\noid"):
        path.write_bytes(damaged)
        refuses(config, rf"{ARCHIVE}: cannot be unpacked \(.+\); get it again from the hub's .*Ima")
    pack(tmp_path, {"elsewhere/0/a.png": picture(0)})
    refuses(config, rf"{ARCHIVE}: cannot be unpacked \(has no folder {FOLDER}\); get it again")
    pack(tmp_path, {f"{FOLDER}/0/{'n' * 300}.png": picture(0)})
    refuses(config, rf"{ARCHIVE}: cannot be unpacked \(.*File name too long")
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE, ".unpack.lock"}
    pack(tmp_path, pictures())
    assert len(load_images(config, "test").labels) == FEW


def test_an_interruption_leaves_nothing_half(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(dataset, tmp_path)
    pack(tmp_path, pictures())
    written: list[tarfile.TarInfo] = []
    data_filter = tarfile.data_filter

    def interrupt(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(member)
        return data_filter(member, path)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "data_filter", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_images(config, "test")
    assert len(written) == 5
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE, ".unpack.lock"}
    assert len(open_images(config, "test")) == FEW


def test_a_full_disk_is_one_line(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(tmp_path, pictures())

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "makefile", fail)
    refuses(make(dataset, tmp_path), r"cannot be unpacked \(.*No space left on device\)")


def test_there_is_no_training_split(dataset: Dataset, tmp_path: Path) -> None:
    config = make(dataset, tmp_path / "none")
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(UserError, match=r"dataset=imagenet_v2 has only a test split; choose"):
            call(config)


def test_missing_data_say_how_to_get_them(dataset: Dataset, tmp_path: Path) -> None:
    how = rf"expected {ARCHIVE} of the hub's data set vaishaal/ImageNetV2, or its folders 0, 1, "
    refuses(dataset("imagenet_v2"), rf"dataset=imagenet_v2 needs dataset\.root=FOLDER; {how}")
    refuses(make(dataset, tmp_path / "none"), rf"dataset\.root=.*/none: no such folder; {how}")
    refuses(make(dataset, tmp_path), rf"{tmp_path}: has no images; {how}.*, found: no folders$")
    (tmp_path / "val").mkdir()
    refuses(make(dataset, tmp_path), rf"has no images; {how}.*, found: val$")


def test_wrong_folders_are_named(dataset: Dataset, tmp_path: Path) -> None:
    base = fill(tmp_path)
    config = make(dataset, base)
    for odd in ("cat", "12", "03"):
        (base / odd).mkdir()
        refuses(config, rf"folder {odd} is no class, expected 0 to 11 \(dataset\.classes=12\); mo")
        (base / odd).rmdir()
    (base / "11" / "0a.png").rename(base / "11" / "0a.txt")
    refuses(config, rf"{base}/11: has no images \(\.bmp .*\); unpack {ARCHIVE} again")
    for number in (11, 9):
        (base / str(number)).rename(tmp_path / f".{number}")
    refuses(config, rf"has no folder 9, expected 0 to 11 \(.*\); unpack {ARCHIVE} again")


def test_a_damaged_image_is_named(dataset: Dataset, tmp_path: Path) -> None:
    base = fill(tmp_path)
    (base / "10" / "0a.png").write_bytes(picture(10)[:40])
    images = open_images(make(dataset, base), "test")
    assert images.read(0, 10).shape == (10, 3, 8, 8)
    with pytest.raises(UserError, match=r"10/0a\.png: is not a whole image; replace or remove it"):
        images.read(0, FEW)
