"""Networks that choose a view early: where they are cut, what they compute, what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import equitune
from experiments.cnn import evaluate
from experiments.cnn.backbones import Backbone, build_backbone, preprocessing
from experiments.cnn.heads import OwnHead
from experiments.cnn.stems import Cut, EarlyExit, ImageLambda
from experiments.costs import rows_read
from experiments.frame.errors import UserError
from experiments.frame.files import save_tensors
from experiments.frame.options import AnyConfig
from experiments.frame.records import Run
from experiments.frame.runner import execute
from experiments.frame.variant import variant
from experiments.images.equivariance import equivariance_error, multiply_adds
from experiments.images.fits import Unlikeliness
from experiments.images.sets import load_images
from tests.experiments.cnn.test_runs import SHORT, names
from tests.experiments.metrics import value

Configure = Callable[..., AnyConfig]
EARLY = ("method=early_exit", "method.lambda_net.steps=10")


def backbone_of(name: str) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(f"cifar:{name}", 10, 32).eval().requires_grad_(False)


def early_exit(backbone: Backbone, stem: float, group: equitune.Action) -> EarlyExit:
    """Return an early exit whose choice is drawn."""
    cut = Cut(backbone, stem)
    width = cut.seen(cut.stem(torch.zeros(1, 3, 32, 32))).shape[1]
    net: nn.Module = ImageLambda(ImageLambda.WIDTH) if stem == 0 else equitune.LambdaNet(width)
    rule = equitune.Select(Unlikeliness(net.eval(), lambda x: x), reads="features")
    return EarlyExit(cut, group, rule, OwnHead(backbone)).eval()


@pytest.mark.parametrize("name", ["resnet20", "alexnet"])
@pytest.mark.parametrize("stem", [0, 0.1, 0.25, 0.5])
@torch.no_grad()
def test_stem_and_rest_are_the_network(name: str, stem: float) -> None:
    backbone, images = backbone_of(name), torch.randn(3, 3, 32, 32)
    cut = Cut(backbone, stem)
    assert torch.equal(cut.rest(cut.stem(images)), backbone.features(images))
    whole = multiply_adds(backbone, images)
    assert multiply_adds(cut.stem, images) == pytest.approx(cut.share * whole)
    # The nearest cut: the largest block of the AlexNet is a third of its work.
    assert abs(cut.share - stem) < (0.06 if name == "resnet20" else 0.08)
    assert cut.seen(cut.stem(images)).shape[1] <= (3 * 32**2 if stem == 0 else 2048)


@pytest.mark.parametrize("stem", [0, 0.25])
@pytest.mark.parametrize("group", [equitune.Rot90(), equitune.DihedralImage()])
@torch.no_grad()
def test_it_is_the_view_that_is_chosen_and_equivariant(stem: float, group: equitune.Action) -> None:
    backbone, images = backbone_of("resnet20"), torch.randn(5, 3, 32, 32)
    whole = early_exit(backbone, stem, group)
    orbit = group.orbit(images)
    seen = (whole.cut.seen(whole.cut.stem(x))[None] for x in orbit)
    loss = torch.cat([whole.rule.loss_fn(x) for x in seen])
    chosen = orbit[loss.argmin(dim=0), torch.arange(5)]
    torch.testing.assert_close(whole(images), backbone(chosen), rtol=1e-4, atol=1e-5)
    assert len(loss.argmin(dim=0).unique()) > 1
    invariant = equitune.Invariant(group.group)
    assert equitune.equivariance_error(whole, images, group, invariant) < 1e-5


@torch.no_grad()
def test_all_views_run_through_the_stem_and_one_through_the_rest() -> None:
    """A counter of real images agrees with the work, but for the network that chooses."""
    backbone, image = backbone_of("resnet20"), torch.randn(1, 3, 32, 32)
    whole = early_exit(backbone, 0.25, equitune.Rot90())
    net = multiply_adds(whole.rule.loss_fn, whole.cut.seen(whole.cut.stem(image))[None])  # type: ignore[arg-type]
    cut, work = whole.cut, multiply_adds(whole, image)
    stems, rests = (rows_read([part], lambda: whole(image)) for part in (cut.stem, cut.rest))
    assert (stems, rests) == (4, 1)
    expected = stems * cut.share + rests * (1 - cut.share)
    assert (work - 4 * net) / multiply_adds(backbone, image) == pytest.approx(expected)


@pytest.mark.parametrize("stem", [0, 0.25])
def test_a_run_gives_what_the_whole_network_gives(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: float
) -> None:
    """Its accuracy is of stored outputs; images through stem and rest have the same."""
    config = configure(*own(tmp_path), *EARLY, f"method.stem={stem}")
    checked: list[nn.Module] = []

    def check(run: Run, network: nn.Module, *others: Any) -> float:
        checked.append(network)
        return equivariance_error(run, network, *others)

    monkeypatch.setattr(evaluate, "equivariance_error", check)
    folder = execute(config).folder
    images, labels, _ = load_images(config.dataset, "test")
    (whole,) = checked
    with torch.no_grad():
        right = whole(preprocessing(config.model)(images)).argmax(dim=1) == labels
    mean = float(100 * right.double().mean())
    assert value(folder, metric="top1_accuracy", transform="none") == pytest.approx(mean)
    assert value(folder, metric="top1_accuracy", transform="rot90", view="") == pytest.approx(mean)
    assert value(folder, metric="equivariance_error") < 1e-4
    share = value(folder, metric="stem_share")
    assert (share == 0) == (stem == 0)
    passes = value(folder, metric="passes")
    assert 0 < passes - (4 * share + (1 - share)) < (0.12 if stem == 0 else 0.01)
    stages = {path.name.split("-")[0] for path in folder.parent.iterdir()}
    assert ("stem_train" in stages and "stem_test" in stages) == (stem > 0)


def own(folder: Path) -> tuple[str, ...]:
    """Return a configuration of a network whose weights are drawn, so that nothing is trained."""
    torch.manual_seed(0)
    save_tensors(
        folder / "own.safetensors", build_backbone("cifar:resnet20", 12, 32).model.state_dict()
    )
    return (*SHORT, "task.training=none", f"model.checkpoint={folder}/own.safetensors")


@pytest.mark.parametrize(
    ("method", "passes"), [("pretrained", 1), ("equitune", 4), ("equizero", 4), ("distance", 4)]
)
def test_passes_of_the_others_are_a_number_of_views(
    configure: Configure, tmp_path: Path, method: str, passes: int
) -> None:
    found = value(execute(configure(*own(tmp_path), f"method={method}")).folder, metric="passes")
    assert passes <= found < 1.001 * passes and (method == "distance" or found == passes)


BAD = {
    ("model=ResNet18",): "early_exit cuts the networks cifar:NAME, .* choose one of these, or",
    ("model=ResNet18", "stage=stem_train", "method.stem=0"): "choose method=early_exit with",
    ("method=canonicalizer", "stage=stem_test"): "choose method=early_exit with",
    ("group=trivial",): "one view to weigh",
    ("method.stem=1.0",): "method.stem=1.0 is out of range",
    ("method.stem=null",): "method=early_exit needs method.stem",
    ("task=clip",): "task=clip cannot run method=early_exit",
}


@pytest.mark.parametrize("overrides", BAD)
def test_bad_input_is_one_line(configure: Configure, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=BAD[overrides]) as caught:
        configure("task=cnn", "method=early_exit", *overrides)
    assert "\n" not in str(caught.value)


def test_no_other_network_is_cut_and_any_can_be_left_whole(configure: Configure) -> None:
    config = configure("task=cnn", "method=early_exit", "model=ResNet18", "method.stem=0")
    assert config.method.stem == 0 and "method.stem" not in variant(configure("task=cnn"))


def test_the_stem_is_named_by_its_share(configure: Configure) -> None:
    quarter, half = (
        names(configure("task=cnn", "method=early_exit", f"method.stem={stem}"))
        for stem in (0.25, 0.5)
    )
    same = {stage for stage in quarter if quarter[stage] == half[stage]}
    assert same == {"pretrain", "features_train", "features_test", "probe"}
