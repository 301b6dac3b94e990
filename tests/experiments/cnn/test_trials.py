"""Trials of CNNs: few images go through the network, and the check computes nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import equitune
from experiments.cnn import evaluate
from experiments.cnn.backbones import Backbone, build_backbone, preprocessing
from experiments.cnn.orbit_sources import Live
from experiments.cnn.probe import build_probe, plan
from experiments.frame.errors import Interrupted
from experiments.frame.files import save_tensors
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.images.symmetries import make_action
from tests.experiments.cnn.test_runs import SHORT, names

Configure = Callable[..., AnyConfig]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count what the backbone gets, but for single images: those tell shapes."""
    found, features = {"views": 0}, Backbone.features

    def count(self: Any, images: Any) -> Any:
        found["views"] += len(images) if len(images) > 1 else 0
        return features(self, images)

    monkeypatch.setattr(Backbone, "features", count)
    return found


@pytest.fixture
def own(configure: Configure, tmp_path: Path) -> tuple[str, ...]:
    """Choose a network whose weights are drawn, so that nothing is trained."""
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    save_tensors(path, build_backbone("cifar:resnet20", 10, 32).model.state_dict())
    return (*SHORT, f"model.checkpoint={path}")


def test_a_trial_sends_few_images_through_the_network(
    configure: Configure, own: tuple[str, ...], seen: dict[str, int]
) -> None:
    trial = configure(*own, "method=lambda_equitune", "task.max_images=40")
    execute(trial)
    # Both splits, then the check (lambda reads the features that the head has read), and the orbit
    # of one image to count passes.
    assert seen["views"] == 2 * 4 * 40 + 4 * 4 * 5 + 4
    assert ensure(trial, "probe", StopSignal()).record["facts"]["images"] == 36


def test_a_trial_and_a_whole_run_share_no_features(configure: Configure) -> None:
    whole, trial, other = (
        names(configure(*SHORT, *more))
        for more in ((), ("task.max_images=40",), ("task.max_images=41",))
    )
    assert {stage for stage in whole if whole[stage] == trial[stage]} == {"pretrain"}
    assert {stage for stage in whole if other[stage] == trial[stage]} == {"pretrain"}


class Recorded:
    """A run that asks to stop after so many looks."""

    def __init__(self, folder: Path, looks: int = 10**9) -> None:
        self.folder, self.looks = folder, looks
        self.rows: dict[str, float] = {}

    def row(self, metric: str, value: float, **_: Any) -> None:
        self.rows[metric] = value

    @property
    def should_checkpoint(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("method", ["pretrained", "equitune", "equizero", "lambda_equitune"])
@pytest.mark.parametrize("group", ["rot90", "mirror"])
def test_the_check_gives_what_the_whole_network_gives(
    configure: Configure, seen: dict[str, int], tmp_path: Path, method: str, group: str
) -> None:
    """To the last bit, though lambda's features are computed once and e x is not."""
    config = configure("task=cnn", f"method={method}", f"group={group}")
    torch.manual_seed(0)
    backbone = build_backbone("cifar:resnet20", 10, 32).eval().requires_grad_(False)
    pixels = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    see, used = preprocessing(config.model), config.group.name
    source = Live(backbone, pixels, torch.arange(6), see, (used, "rot90"), chunk=6)
    probe = build_probe(plan(config), source.shape, 12, seed=1).eval().requires_grad_(False)

    rule: Any = probe.rule
    if method == "lambda_equitune":
        rule = equitune.Learned(rule.net, lambda x: backbone.features(x).flatten(1))
    plain = Plain(backbone, probe.head)
    action, turned = make_action(used), make_action("rot90" if used == "trivial" else used)
    model = equitune.Equivariant(plain, action, equitune.Invariant(action.group), rule).eval()
    with torch.inference_mode():
        expected = equitune.equivariance_error(
            model, see(source.sample), turned, equitune.Invariant(turned.group)
        )

    seen["views"] = 0
    run: Any = Recorded(tmp_path)
    evaluate._check_whole(config, run, backbone, probe, source)
    assert run.rows["equivariance_error"] == expected
    # Lambda's own work counts, too.
    assert run.rows["passes"] == pytest.approx(action.group.order, rel=1e-3)
    once = action.group.order if action.group.order > 1 else 0
    assert seen["views"] == 6 * action.group.order * turned.group.order + once
    with pytest.raises(Interrupted, match="begins again"):
        run = Recorded(tmp_path, 1)
        evaluate._check_whole(config, run, backbone, probe, source)


class Plain(torch.nn.Module):
    """The backbone with other last layers."""

    def __init__(self, backbone: Backbone, head: torch.nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Any) -> Any:
        return self.head(self.backbone.features(x))


def test_an_evaluation_stops_between_two_epochs(configure: Configure, own: tuple[str, ...]) -> None:
    config = configure(*own, "method=equitune", "task.max_images=40")
    for stage in ("probe", "features_test"):
        ensure(config, stage, StopSignal())
    stop = StopSignal()
    stop.received = True
    with pytest.raises(Interrupted, match="begins again"):
        ensure(config, "evaluate", stop)
    assert execute(config).rows()
