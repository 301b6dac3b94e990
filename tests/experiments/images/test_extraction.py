"""Orbits that are kept: the same after an interruption, and in another order for a turned image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.errors import Interrupted
from experiments.files import load_tensors, save_tensors
from experiments.images import extraction
from experiments.images.extraction import Extraction, Orbits, extract, orbits_of
from experiments.images.inputs import Preprocessing
from experiments.images.members import MEMBERS, smallest
from experiments.images.sets import OpenImages
from experiments.images.turned import Stored, over_turns
from experiments.images.views import SQUARE, make_action

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
        extract(FakeRun(tmp_path, 9), images(), how(network), "test", "")  # type: ignore[arg-type]
    parts = sorted(tmp_path.glob("features-*.safetensors"))
    assert len(parts) == 2
    if damage != "none":
        content = bytearray(parts[0].read_bytes())
        content[-1] ^= 1
        parts[0].write_bytes(content[:-3] if damage == "cut" else content)
    before = network.seen
    extract(FakeRun(tmp_path), images(), how(network), "test", "")  # type: ignore[arg-type]
    again = 0 if damage == "none" else 6
    assert network.seen - before == 4 * (23 - 12 + again)
    assert [path.name for path in tmp_path.iterdir()] == [extraction.FEATURES]
    tensors, facts = load_tensors(tmp_path / extraction.FEATURES)
    assert torch.equal(tensors["features"], whole.values) and facts == {"views": "rot90"}
    assert torch.equal(tensors["sample"], whole.sample) and len(whole.sample) == 23


@pytest.mark.parametrize("group", ["trivial", "rot90", "rot180", "mirror", "dihedral"])
@pytest.mark.parametrize("transform", ["none", "rot90", "rot180", "mirror", "dihedral"])
def test_a_transformed_image_has_the_stored_orbit_in_another_order(
    group: str, transform: str
) -> None:
    network, source = Network(), images(8)
    views = smallest(group, transform)
    stored = Stored(orbits_of(source, how(network, views)), group, transform)
    assert network.seen == 8 * len(MEMBERS[views])
    inputs = SEE(source.read(0, 8))
    for turn, element in enumerate(MEMBERS[transform]):
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
