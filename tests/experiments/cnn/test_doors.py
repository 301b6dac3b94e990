"""ImageNet weights: from PyTorch's server, the hub, their caches, or files that are the same."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from experiments.cnn import checkpoints
from experiments.cnn.checkpoints import (
    Source,
    find_source,
    imagenet_file,
    imagenet_identity,
    imagenet_weights,
    source,
)
from experiments.cnn.pretrain import pretrained_backbone
from experiments.external import downloads
from experiments.external import hub as hub_files
from experiments.frame.errors import UserError
from experiments.frame.files import sha256
from experiments.frame.options import AnyConfig
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from tests.experiments.emulated import emulated_hub, fetch_all, publish
from tests.experiments.hub_server import Behaviour, HubServer, Repository, commit_of
from tests.experiments.program import Program

Configure = Callable[..., AnyConfig]
TORCHVISION = ("task=cnn", "model=AlexNet", "model.architecture=torchvision:squeezenet1_1")
TIMM = ("task=cnn", "model=ResNet18", "model.architecture=timm:test_resnet.r160_in1k")
TIMM = (*TIMM, "model.weights=imagenet", "model.size=160")
REPOSITORY = "timm/test_resnet.r160_in1k"


class Bare:
    """What a stage tells a run, without a run."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def fact(self, key: str, value: Any) -> None:
        self.facts[key] = value


def squeezenet() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(models.squeezenet1_1().state_dict())


def resnet() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(timm.create_model("test_resnet").state_dict())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with timm's weights, and PyTorch's server with SqueezeNet's; the caches are empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        buffer = io.BytesIO()
        torch.save(squeezenet(), buffer)
        serve(server, monkeypatch, buffer.getvalue())
        save_file(resnet(), tmp_path / "model.safetensors")
        publish(server, REPOSITORY, {"model.safetensors": tmp_path / "model.safetensors"})
        yield server


def serve(hub: HubServer, monkeypatch: pytest.MonkeyPatch, content: bytes) -> str:
    """Let a file be torchvision's weights of SqueezeNet; its name has the digest, as theirs do."""
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    url = hub.add_file(f"models/{name}", content)
    real = checkpoints.find_source

    def find(architecture: str) -> Source | None:
        mine = architecture == "torchvision:squeezenet1_1"
        return Source(name, None, (), url) if mine else real(architecture)

    monkeypatch.setattr(checkpoints, "find_source", find)
    return name


def name_of(config: AnyConfig) -> str:
    task = load_task("cnn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.images.config.fingerprint", lambda *_: "data")
        return name_run(task, task.stages["features_test"], config).folder


@pytest.mark.parametrize("overrides", [TORCHVISION, TIMM])
def test_what_is_fetched_once_is_asked_for_no_more(
    hub: HubServer, configure: Configure, overrides: tuple[str, ...]
) -> None:
    config = configure(*overrides)
    fetch_all(config)
    assert hub.requests
    hub.clear()
    fetch_all(config)
    run = Bare()
    backbone = pretrained_backbone(config, run)  # type: ignore[arg-type]
    assert hub.requests == []
    expected = squeezenet() if overrides == TORCHVISION else resnet()
    found = backbone.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    file = imagenet_file(config.model)
    assert run.facts == {
        "weights": {"file": file.path.name, "sha256": sha256(file.path), "commit": file.commit}
    }


def test_torchvisions_file_lies_where_torch_hub_has_it(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    path = imagenet_file(configure(*TORCHVISION).model).path
    assert path.parent == tmp_path / "torch" / "hub" / "checkpoints"
    assert path.name == source_of(TORCHVISION, configure).name


def source_of(overrides: tuple[str, ...], configure: Configure) -> Source:
    return source(configure(*overrides).model.architecture)


def test_the_names_of_old_densenets_are_put_right(tmp_path: Path) -> None:
    path = tmp_path / "densenet.pth"
    torch.save({"features.denseblock1.denselayer2.norm.1.weight": torch.ones(2)}, path)
    found = imagenet_weights("torchvision:densenet121", path)
    assert list(found) == ["features.denseblock1.denselayer2.norm1.weight"]


def test_weights_in_timms_own_order_are_put_right(tmp_path: Path) -> None:
    """Names that timm converts when it reads a file, here the ones of torch.nn.DataParallel."""
    path = tmp_path / "pytorch_model.bin"
    torch.save({"state_dict": {f"module.{name}": v for name, v in resnet().items()}}, path)
    assert imagenet_weights("timm:test_resnet", path).keys() == resnet().keys()
    torch.save({"conv1.weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match=r"bin: has not the weights of timm:test_resnet") as error:
        imagenet_weights("timm:test_resnet", path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_code_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(Program(tmp_path / "victim"), tmp_path / "bad.bin")
    with pytest.raises(UserError, match=r"bad\.bin: not a complete file .*asks for \S*mkdir"):
        imagenet_weights(architecture, tmp_path / "bad.bin")
    assert not (tmp_path / "victim").exists()


def test_a_damaged_file_is_named(hub: HubServer, configure: Configure) -> None:
    for overrides in (TORCHVISION, TIMM):
        model = configure(*overrides).model
        path = imagenet_file(model).path.resolve()
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(UserError, match=f"damaged.* delete {path}") as error:
            imagenet_file(model)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("overrides", [TORCHVISION, TIMM])
def test_the_published_file_is_the_tag_wherever_it_lies(
    hub: HubServer, configure: Configure, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    by_tag = configure(*overrides)
    published = imagenet_file(by_tag.model).path
    path = tmp_path / f"mine{published.suffix}"
    shutil.copy(published, path)
    if overrides == TORCHVISION:
        published.unlink()  # the name of the file tells what it is
    hub.close()
    for key in ("local", "checkpoint"):
        config = configure(*overrides, f"model.{key}={path}")
        assert (config.model.local, config.model.checkpoint) == (str(path), None)
        assert name_of(config) == name_of(by_tag) and variant(config) == variant(by_tag)
        pretrained_backbone(config, Bare())  # type: ignore[arg-type]
    other = tmp_path / "other.pth"
    torch.save({"a": torch.ones(1)}, other)
    with pytest.raises(UserError, match=r"is not the file of the ImageNet weights of .*checkpoint"):
        configure(*overrides, f"model.local={other}")
    own = configure(*overrides, f"model.checkpoint={other}")
    assert "checkpoint=" in variant(own) and name_of(own) != name_of(by_tag)


def test_a_file_that_nothing_is_known_of_is_not_believed(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match=r"nothing here tells what .* model\.sha256=HEX"):
        configure(*TIMM, f"model.local={path}")
    digest = f"model.sha256={sha256(path)}"
    known = configure(*TIMM, f"model.local={path}", digest)
    assert name_of(known) == name_of(configure(*TIMM, digest))
    with pytest.raises(UserError, match=r"weights of your own are given by model\.checkpoint="):
        configure("task=cnn", f"model.local={path}")
    revision = f"model.revision={'0' * 40}"
    assert name_of(configure(*TIMM, revision)) != name_of(known)
    with pytest.raises(UserError, match="the hub has no weights of torchvision:squeezenet1_1"):
        configure(*TORCHVISION, revision)
    assert hub.requests == []


def test_own_weights_of_an_architecture_without_published_ones(
    configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "own.pth"
    torch.save({"a": torch.ones(1)}, path)
    more = ("model=ResNet20", "model.weights=imagenet")
    assert configure("task=cnn", *more, f"model.checkpoint={path}").model.checkpoint == str(path)
    config = configure("task=cnn", *more)
    with pytest.raises(UserError, match=r"cifar:resnet20 has no ImageNet weights; .*=ours$"):
        fetch_all(config)


@pytest.mark.parametrize("way", ["refused", "silent", "missing", "offline"])
@pytest.mark.parametrize("overrides", [TORCHVISION, TIMM])
def test_without_network_the_line_says_what_to_place(
    hub: HubServer,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    way: str,
) -> None:
    config = configure(*overrides)
    if way == "refused":
        hub.close()
    elif way == "silent":
        monkeypatch.setattr(downloads, "SILENCE", 0.2)
        hub.behaviour = Behaviour(silent=True)
    elif way == "missing":
        hub.behaviour = Behaviour(status=404, error_code="EntryNotFound")
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        fetch_all(config)
    text = str(error.value)
    assert "\n" not in text and ("HF_HUB_OFFLINE=1" in text) == (way == "offline")
    found = source_of(overrides, configure)
    place = f"place it at {os.environ['TORCH_HOME']}/hub/checkpoints/{found.name} or give"
    of_hub = f"get model.safetensors of https://huggingface.co/{REPOSITORY} and give"
    for part in (
        f"the ImageNet weights of {config.model.architecture} cannot be fetched",
        f"get {found.url} and {place}" if overrides == TORCHVISION else of_hub,
        "give model.local=FILE",
    ):
        assert part in text


def test_where_weights_are_published() -> None:
    alexnet = find_source("torchvision:alexnet")
    assert alexnet is not None and alexnet.name == "alexnet-owt-7be5be79.pth"
    assert alexnet.page == f"https://download.pytorch.org/models/{alexnet.name}"
    senet = find_source("timm:legacy_seresnet18")  # one of the few that are not on the hub
    assert senet is not None and senet.repository is None and senet.url.endswith("4bb0ce65.pth")
    assert find_source("cifar:resnet20") is None


def test_without_a_revision_the_commit_that_is_used_is_part_of_the_name(
    hub: HubServer, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*TIMM)
    assert hub.requests == []
    first, second = commit_of(REPOSITORY), "1" * 40
    named = {"weights": "test_resnet.r160_in1k"}
    assert imagenet_identity(config.model) == {**named, "commit": first}
    fetch_all(config)
    hub.clear()
    file = {"model.safetensors": tmp_path / "model.safetensors"}
    hub.add(Repository(REPOSITORY, "model", {second: file}, {"main": second}))
    assert imagenet_identity(config.model) == {**named, "commit": first} and hub.requests == []
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    hub_files._told_commit.cache_clear()
    assert imagenet_identity(config.model) == {**named, "commit": second}
    # What says itself which file it is keeps its name.
    hub.clear()
    pinned = configure(*TIMM, f"model.revision={first}", f"model.sha256={'0' * 64}")
    assert imagenet_identity(pinned.model) == {**named, "revision": first}
    digest = configure(*TIMM, f"model.sha256={'0' * 64}")
    assert imagenet_identity(digest.model) == {**named, "sha256": "0" * 64}
    assert list(imagenet_identity(configure(*TORCHVISION).model)) == ["weights"]
    assert hub.requests == []
