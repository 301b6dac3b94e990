"""Orbits that are kept: the same after an interruption, and in another order for a turned image.

What a trial computes, what is said before anything is computed, and when it stops.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import equitune
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.files import load_tensors, save_tensors
from experiments.images import extraction
from experiments.images.equivariance import checked, equivariance_error
from experiments.images.extraction import (
    SAMPLE,
    SQUARE,
    Extraction,
    Orbits,
    extract,
    limited,
    orbits_of,
    shuffled,
)
from experiments.images.inputs import Preprocessing
from experiments.images.orbit_data import Stored, over_turns
from experiments.images.sets import OpenImages
from experiments.images.symmetries import (
    SYMMETRIES,
    TRANSFORMS,
    make_action,
    members,
    smallest,
)

SEE = Preprocessing(6, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def images(count: int = 23) -> OpenImages:
    pixels = np.random.default_rng(0).integers(256, size=(count, 3, 6, 6), dtype=np.uint8)
    labels = torch.arange(count) % 3
    return OpenImages(labels, ("a", "b", "c"), lambda start, stop: pixels[start:stop])


class Network:
    """Counts the images that it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        self.seen += len(inputs)
        ramp = torch.arange(108.0).reshape(3, 6, 6).sin()
        return torch.stack([(inputs * ramp).sum((1, 2, 3)), inputs[:, 0, 0, 0]], dim=-1)


def how(network: Network, views: str = "rot90") -> Extraction:
    return Extraction(network, SEE, views, 2, torch.device("cpu"))


class FakeRun:
    """Keeps one artefact; asks to stop after so many looks."""

    def __init__(self, folder: Path, looks: int = 10**9) -> None:
        self.folder, self.looks = folder, looks

    @property
    def should_checkpoint(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def row(self, *_: Any, **__: Any) -> None:
        pass

    def fact(self, *_: Any) -> None:
        pass

    def save(self, name: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        save_tensors(self.folder / name, tensors, facts)


@pytest.mark.parametrize("damage", ["none", "cut", "flip"])
def test_an_interrupted_extraction_takes_up_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(extraction, "PASSES", 3)
    network = Network()
    whole = orbits_of(images(), how(Network()))
    with pytest.raises(Interrupted):
        # Each part is 3 batches of 4 views, and a look before each.
        extract(FakeRun(tmp_path, 30), images(), how(network), "test", "")  # type: ignore[arg-type]
    parts = sorted(tmp_path.glob("features-*.safetensors"))
    assert len(parts) == 2
    if damage != "none":
        content = bytearray(parts[0].read_bytes())
        content[-1] ^= 1
        parts[0].write_bytes(content[:-3] if damage == "cut" else content)
    before = network.seen
    extract(FakeRun(tmp_path), images(), how(network), "test", "")  # type: ignore[arg-type]
    again = 0 if damage == "none" else 6
    # One view of one image tells how large the features are.
    assert network.seen - before == 1 + 4 * (23 - 12 + again)
    assert [path.name for path in tmp_path.iterdir()] == [extraction.FEATURES]
    tensors, facts = load_tensors(tmp_path / extraction.FEATURES)
    assert torch.equal(tensors["features"], whole.values) and facts == {"views": "rot90"}
    assert torch.equal(tensors["sample"], whole.sample) and len(whole.sample) == 23


@pytest.mark.parametrize("group", SYMMETRIES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transformed_image_has_the_stored_orbit_in_another_order(
    group: str, transform: str
) -> None:
    network, source = Network(), images(8)
    views = smallest(group, transform)
    stored = Stored(orbits_of(source, how(network, views)), group, transform)
    assert network.seen == 8 * len(members(views))
    inputs = SEE(source.read(0, 8))
    for turn, element in enumerate(members(transform)):
        moved = SQUARE.act(element, inputs)
        orbit = make_action(group).orbit(moved)
        expected = network(orbit.flatten(0, 1)).unflatten(0, orbit.shape[:2])  # type: ignore[no-untyped-call]
        found = stored.views(torch.arange(8), torch.full((8,), turn))
        # Sums of another batch may round differently.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_image_is_judged_once_in_every_transform() -> None:
    values = torch.arange(40.0).reshape(4, 10, 1)
    orbits = Orbits(values, torch.arange(10), "rot90", torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    stored = Stored(orbits, "rot90", "rot90")
    stored.chunk = 3
    found = over_turns(stored, lambda views, labels: torch.stack([views[0, :, 0], labels], dim=-1))
    # The identity's view of an image that was turned by k is view k of the upright one.
    assert torch.equal(found[..., 0], values[..., 0])
    assert torch.equal(found[..., 1], torch.arange(10.0).expand(4, 10))


@pytest.mark.parametrize("limit", [5, 70, 90, 200])
def test_a_trial_sends_only_its_images_through_the_network(tmp_path: Path, limit: int) -> None:
    """They are those that were taken from all features when all were computed."""
    everything, network = images(90), Network()
    whole = orbits_of(everything, how(Network()))
    run: Any = FakeRun(tmp_path)
    extract(run, everything, how(network), "test", "", limit)
    count = min(limit, 90)
    assert network.seen == 1 + 4 * count
    tensors, _ = load_tensors(tmp_path / extraction.FEATURES)
    rows = shuffled(90)[:limit]
    assert torch.equal(tensors["labels"], whole.labels[rows])
    assert torch.equal(tensors["sample"], whole.sample[: min(SAMPLE, count)])
    # Sums of another batch may round differently.
    torch.testing.assert_close(tensors["features"], whole.values[:, rows])
    first = limited(everything, limit).read(0, len(tensors["sample"]))
    assert torch.equal(tensors["sample"], first)


def test_what_is_to_be_computed_is_said_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = FakeRun(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 23 * 32))
    with caplog.at_level(logging.INFO):
        extract(run, images(), how(Network()), "test", "embeddings of toys")
    assert caplog.messages[0] == "embeddings of toys: 23 images x 4 views, 0.0 MB of features"


def test_a_disk_that_is_too_small_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts and whole are on it at the same time: twice 23 images of 4 views of 2 numbers."""
    network, run = Network(), FakeRun(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 23 * 32 - 1))
    with pytest.raises(UserError, match=r"results= .*task\.max_images=22 for a trial") as caught:
        extract(run, images(), how(network), "test", "toys")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and network.seen == 1
    extract(run, images(), how(network), "test", "toys", 22)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["rot90", "rot180", "mirror", "dihedral"])
def test_the_check_is_that_of_the_library_and_computes_nothing_twice(
    tmp_path: Path, group: str
) -> None:
    network, inputs, action = Network(), SEE(images(10).read(0, 10)), make_action(group)
    expected = equitune.equivariance_error(
        network, inputs, action, equitune.Invariant(action.group)
    )
    assert network.seen == 10 * (len(members(group)) + 1) and expected > 0
    again, run = Network(), FakeRun(tmp_path)
    assert equivariance_error(run, again, inputs, group) == expected  # type: ignore[arg-type]
    assert again.seen == 10 * len(members(group))


def test_a_check_stops_between_two_passes(tmp_path: Path) -> None:
    network, inputs, run = Network(), SEE(images(10).read(0, 10)), FakeRun(tmp_path, 2)
    with pytest.raises(Interrupted, match="begins again"):
        equivariance_error(run, network, inputs, "rot90")  # type: ignore[arg-type]
    assert network.seen == 2 * 10


def test_a_trial_is_checked_on_a_handful() -> None:
    sample = images(SAMPLE).read(0, SAMPLE)
    assert checked(sample, None) is sample
    counts = {2: 1, 15: 1, 16: 2, 64: 8, 512: SAMPLE, 2000: SAMPLE}
    assert {limit: len(checked(sample, limit)) for limit in counts} == counts
    assert torch.equal(checked(sample, 64), sample[:8])
