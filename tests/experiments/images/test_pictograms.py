"""Pictograms: seeded, balanced, upright, and none a rotation of itself or of another class."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.frame.errors import UserError
from experiments.images.options import ImageDataset
from experiments.images.pictograms import ALPHABET, _glyph
from experiments.images.sets import fingerprint, load_images

Dataset = Callable[..., ImageDataset]
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("name", "classes", "train"), [("letters", 20, 200), ("symbols", 12, 100)])
def test_splits_are_balanced_and_named(
    dataset: Dataset, name: str, classes: int, train: int
) -> None:
    config = dataset(name)
    assert config.classes == classes
    for split, count in (("train", train), ("test", 50)):
        images = load_images(config, split)  # type: ignore[arg-type]
        assert images.pixels.shape == (classes * count, 3, 32, 32)
        assert torch.equal(torch.bincount(images.labels), torch.full((classes,), count))
        assert images.classes == tuple(ALPHABET[name].glyphs)
        assert len(images.labels[:200].unique()) == classes  # mixed


def test_the_seed_decides_every_pixel(dataset: Dataset) -> None:
    small = {"per_class_train": 5, "per_class_test": 5}
    one, again = (load_images(dataset("letters", **small), "train") for _ in range(2))
    assert torch.equal(one.pixels, again.pixels)
    assert torch.equal(one.labels, again.labels)
    test = load_images(dataset("letters", **small), "test")
    other = load_images(dataset("letters", **small, seed=1), "train")
    for images in (test, other):
        assert not torch.equal(one.pixels, images.pixels)
        assert not torch.equal(one.labels, images.labels)


def test_a_fingerprint_follows_the_parameters(dataset: Dataset) -> None:
    digests = {
        fingerprint(dataset(name, **changes))
        for name in ("letters", "symbols")
        for changes in ({}, {"seed": 1}, {"size": 64}, {"per_class_train": 7}, {"root": "x"})
    }
    assert len(digests) == 8  # root is not among them
    fewer = dataset("letters", per_class_train=7)
    assert fingerprint(fewer, ("test",)) == fingerprint(dataset("letters"), ("test",))


def test_another_size_is_drawn_at_that_size(dataset: Dataset) -> None:
    config = dataset("symbols", size=96, per_class_train=2)
    assert load_images(config, "train").pixels.shape == (24, 3, 96, 96)


def mean_shapes(images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each class, glyphs bright on dark, [classes, 32, 32].

    The corners are ground, so what differs from them is glyph.
    """
    corners = images[..., [0, 0, -1, -1], [0, -1, 0, -1]].float().median(dim=-1).values
    shapes = (images.float() - corners[..., None, None]).norm(dim=1)
    shapes /= shapes.amax(dim=(1, 2), keepdim=True)
    return torch.stack([shapes[labels == c].mean(dim=0) for c in range(int(labels.max()) + 1)])


@pytest.mark.parametrize("name", ["letters", "symbols"])
def test_every_class_is_closer_to_itself_upright_than_turned(dataset: Dataset, name: str) -> None:
    config = dataset(name, per_class_train=100)
    train, test = load_images(config, "train"), load_images(config, "test")
    upright = mean_shapes(train.pixels, train.labels)
    fresh = mean_shapes(test.pixels, test.labels)
    turned = torch.stack([torch.rot90(upright, turns, (1, 2)) for turns in range(4)])
    distances = (turned[:, :, None] - fresh).square().sum(dim=(-2, -1))  # [turn, class, fresh]
    nearest = distances.flatten(0, 1).argmin(dim=0)
    assert nearest.tolist() == list(range(len(upright)))  # turn 0 and the own class, of all others


def resemblance(characters: str, font: str) -> np.ndarray:
    """Return how much characters resemble turned ones: the largest correlation, [c, c]."""
    shapes = np.stack([np.asarray(_glyph(font, c, 128)) for c in characters])
    small = shapes[:, 2:-2, 2:-2].reshape(-1, 16, 8, 16, 8).mean((2, 4))
    turned = np.stack([np.rot90(small, turns, (1, 2)) for turns in range(4)])
    centred = turned.reshape(4, len(characters), 256)
    centred = centred - centred.mean(-1, keepdims=True)
    units = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray((units[1:] @ units[0].T).max(axis=0))


@pytest.mark.parametrize("name", ["letters", "symbols"])
def test_in_no_font_is_a_class_a_rotation_of_a_class(name: str) -> None:
    alphabet = ALPHABET[name]
    for font in alphabet.fonts:
        assert resemblance("".join(alphabet.glyphs.values()), font).max() < 0.85, font
        left_out = resemblance("NZnu69", font)
        assert min(left_out[0, 0], left_out[1, 1], left_out[2, 3], left_out[4, 5]) > 0.85, font


def test_every_glyph_is_in_its_fonts() -> None:
    for alphabet in ALPHABET.values():
        for font in alphabet.fonts:
            missing = np.asarray(_glyph(font, "\uffff", 128))
            for character in alphabet.glyphs.values():
                assert not np.array_equal(np.asarray(_glyph(font, character, 128)), missing)


def test_what_is_missing_or_does_not_fit_is_named(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in (fingerprint, lambda config: load_images(config, "train")):
        with pytest.raises(
            UserError, match="alphabet=None is not known; choose from: letters, sym"
        ):
            call(dataset("letters", alphabet=None))
        with pytest.raises(
            UserError, match=r"letters: has 20 classes, not dataset\.classes=26; set"
        ):
            call(dataset("letters", classes=26))
        with pytest.raises(UserError, match=r"pictograms need dataset\.per_class_train, .*seed"):
            call(dataset("letters", seed=None))
    monkeypatch.setattr("matplotlib.get_data_path", lambda: "/nowhere")
    with pytest.raises(UserError, match=r"/nowhere/.*ttf: no such font; reinstall matplotlib"):
        load_images(dataset("letters"), "train")


def test_a_fingerprint_needs_no_heavy_package() -> None:
    script = """
import sys
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint
fingerprint(ImageDataset("x", [], "pictograms", None, 12, 32, [], "symbols", 2, 2, 0))
print(*sorted({"torch", "torchvision", "matplotlib", "pyarrow"} & set(sys.modules)))
"""
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (output.returncode, output.stdout.strip()) == (0, ""), output.stderr
