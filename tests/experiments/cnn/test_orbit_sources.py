"""Features that are computed in the step are those that are stored."""

from __future__ import annotations

import pytest
import torch

from experiments.cnn.backbones import Backbone, build_backbone
from experiments.cnn.heads import Probe
from experiments.cnn.options import ProbeRecipe
from experiments.cnn.orbit_sources import Live, correctness
from experiments.cnn.probe import Learner, Plan, build_probe, phases
from experiments.images.extraction import Orbits, orbit_outputs
from experiments.images.inputs import Preprocessing
from experiments.images.orbit_data import Stored
from experiments.images.symmetries import members

SEE = Preprocessing(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
RECIPE = ProbeRecipe(epochs=1, batch_size=4, learning_rate=0.01, momentum=0.9, validation=0.1)
ASKED = Plan("equitune", "rot90", "rot90", None, None, None, None, False)


def backbone() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("cifar:resnet20", 10, 32).eval()


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(count) % 3


@pytest.mark.parametrize("group", ["trivial", "rot90", "mirror", "dihedral"])
@pytest.mark.parametrize("transform", ["none", "rot90"])
def test_features_of_the_step_are_the_stored_ones(group: str, transform: str) -> None:
    network, (pixels, labels) = backbone(), images(6)
    stored = Orbits(
        orbit_outputs(network.features, pixels, SEE, members("dihedral")),
        labels,
        "dihedral",
        pixels,
    )
    live = Live(network, pixels, labels, SEE, (group, transform), chunk=4)
    looked_up = Stored(stored, group, transform)
    assert live.turns == looked_up.turns
    rows, turned = torch.tensor([5, 0, 2, 2]), torch.arange(4) % live.turns
    torch.testing.assert_close(live.views(rows, turned), looked_up.views(rows, turned))
    some = torch.tensor([4, 1, 3])
    few = torch.tensor([0, 2]), torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(live.take(some).views(*few), looked_up.take(some).views(*few))


def test_with_batch_statistics_an_image_depends_on_the_others() -> None:
    network, (pixels, labels) = backbone(), images(6)
    rows, still = torch.arange(6), torch.zeros(6, dtype=torch.int64)
    found = {}
    for batch_statistics in (False, True):
        live = Live(
            network,
            pixels,
            labels,
            SEE,
            ("rot90", "none"),
            chunk=3,
            batch_statistics=batch_statistics,
        )
        with torch.no_grad():
            found[batch_statistics] = live.views(rows, still), live.views(rows[:3], still[:3])
    torch.testing.assert_close(found[False][0][:, :3], found[False][1])
    assert not torch.allclose(found[True][0][:, :3], found[True][1], atol=1e-2)


@pytest.mark.parametrize("everything", [False, True])
def test_the_whole_network_learns_where_it_is_asked_to(everything: bool) -> None:
    network, (pixels, labels) = backbone(), images(8)
    network.requires_grad_(everything)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    live = Live(network, pixels, labels, SEE, ("rot90", "rot90"), chunk=4)
    probe = build_probe(ASKED, live.shape, 3, seed=0)
    moving = [p for p in network.parameters() if p.requires_grad]
    (rule, parameters), *_ = phases(ASKED, probe, moving)
    (loss,) = Learner(probe, live, RECIPE, seed=0).learn(rule, parameters, 1)
    assert loss > 0
    moved = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    # The averages of the batch norms stay as they are in any case.
    assert not any("running" in name for name in moved)
    assert any("conv1" in name for name in moved) == everything


def test_batch_statistics_are_all_that_is_of_the_batch() -> None:
    """Dropout stays off, and the images of one pass have had different turns."""
    torch.manual_seed(0)
    network = build_backbone("torchvision:efficientnet_b0", 10, 64)
    pixels = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    live = Live(
        network,
        pixels,
        torch.arange(4),
        SEE._replace(size=64),
        ("trivial", "rot90"),
        chunk=4,
        batch_statistics=True,
    )
    rows = torch.arange(4)
    with torch.no_grad():
        torch.testing.assert_close(live.views(rows, rows), live.views(rows, rows))
    asked: list[torch.Tensor] = []
    views = live.views

    def remember(rows: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        asked.append(turned)
        return views(rows, turned)

    live.views = remember  # type: ignore[method-assign]
    trivial = ASKED._replace(group="trivial", method="pretrained")
    assert correctness(build_probe(trivial, live.shape, 10, 0), live).shape == (4, 4)
    assert [sorted(turned.tolist()) for turned in asked] == [[0, 1, 2, 3]] * 4


def test_correctness_in_chunks_is_that_of_the_whole() -> None:
    network, (pixels, labels) = backbone(), images(7)
    probe = Probe(torch.nn.Flatten(2), build_probe(ASKED, (64, 1, 1), 3, 0).rule)
    one, many = (
        correctness(probe, Live(network, pixels, labels, SEE, ("rot90", "rot90"), chunk=chunk))
        for chunk in (7, 2)
    )
    assert one.shape == (4, 7) and torch.equal(one, many)
