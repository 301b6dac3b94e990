"""From a file of the hub to logits, the suite and open_clip by hand come to the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from experiments.clip.embeddings import class_embeddings
from experiments.clip.models import image_encoder, make_tokenizer, preprocessing, pretrained_model
from experiments.clip.options import ClipModel
from experiments.clip.prompts import captions, templates
from experiments.frame.options import AnyConfig
from tests.experiments.clip.test_models import Bare
from tests.experiments.clip.tiny import TAG, register
from tests.experiments.emulated import emulated_hub
from tests.experiments.hub_server import HubServer, Repository, commit_of

Configure = Callable[..., AnyConfig]
CLASSES = ("apple", "aquarium fish", "baby")
COMMIT = commit_of("random weights")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub for tags whose models have the activation of OpenAI's."""
    from open_clip import pretrained

    register(monkeypatch)
    tag = {**TAG, "hf_hub": "someone/tiny-vit/", "quick_gelu": True}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"here": tag})
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        yield server
    shutil.rmtree(tmp_path)  # more than a gigabyte, which pytest would keep three times


def published(hub: HubServer, name: str, repository: str, folder: Path) -> Path:
    """Put random weights of a model on the hub."""
    import open_clip

    torch.manual_seed(0)
    path = folder / "open_clip_model.safetensors"
    save_file(open_clip.create_model(name, force_quick_gelu=True).state_dict(), path)
    hub.add(Repository(repository, "model", {COMMIT: {path.name: path}}, {"main": COMMIT}))
    return path


def pictures(count: int, side: int) -> Tensor:
    """Return images that are smooth, as photographs are."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    fine = functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1)
    return (fine * 255).to(torch.uint8)


def by_hand(
    path: Path, name: str, model: ClipModel, pixels: Tensor, lines: tuple[str, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what open_clip sees, its classifier, and its logits."""
    import open_clip

    network: Any = open_clip.create_model(name, force_quick_gelu=True)
    open_clip.load_checkpoint(network, str(path))
    assert model.size and model.mean and model.std
    transform = open_clip.image_transform(
        model.size,
        False,
        tuple(model.mean),
        tuple(model.std),
        resize_mode="shortest",
        interpolation=model.interpolation,
    )
    images = torch.stack([transform(Image.fromarray(x.permute(1, 2, 0).numpy())) for x in pixels])
    with torch.inference_mode():
        network.eval()
        forms = [lambda word, line=line: line.replace("{}", word) for line in lines]
        tokenizer = open_clip.get_tokenizer(name)
        classifier = open_clip.build_zero_shot_classifier(network, tokenizer, CLASSES, forms)
        embeddings = network.encode_image(images, normalize=True)
        return images, classifier, network.logit_scale.exp() * embeddings @ classifier


TINY = ("model=open_clip", "model.architecture=tiny-vit", "model.weights=here")


@pytest.mark.parametrize(
    ("name", "side", "repository", "overrides"),
    [
        ("tiny-vit", 48, "someone/tiny-vit", (*TINY, "model.interpolation=bicubic")),
        pytest.param(
            "ViT-B-32",
            32,
            "timm/vit_base_patch32_clip_224.openai",
            ("model=ViT-B-32", f"model.revision={COMMIT}", "model.sha256=null"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_logits_are_those_of_open_clip(
    hub: HubServer,
    configure: Configure,
    tmp_path: Path,
    name: str,
    side: int,
    repository: str,
    overrides: tuple[str, ...],
) -> None:
    path, pixels = published(hub, name, repository, tmp_path), pictures(4, side)
    config = configure("task=clip", "dataset=cifar100", *overrides)
    lines = templates(config.dataset)
    images, classifier, logits = by_hand(path, name, config.model, pixels, lines)

    model: Any = pretrained_model(config, Bare())  # type: ignore[arg-type]
    tokenizer = make_tokenizer(config.model)
    ids = torch.stack([tokenizer(row) for row in captions(lines, CLASSES)])
    found = class_embeddings(model, ids, "float32")
    seen = preprocessing(config.model)(pixels)
    with torch.inference_mode():
        embeddings = functional.normalize(image_encoder(model)(seen), dim=-1)
    scores = float(model.logit_scale.exp()) * embeddings @ found

    levels = (seen - images).abs() * 255 * torch.tensor(config.model.std)[:, None, None]
    # PIL and PyTorch round the weights of their bicubic filters to another number of bits.
    assert levels.max() <= 2 + 1e-3 and (levels > 1 + 1e-3).double().mean() < 1e-5
    assert (found - classifier).abs().max() == 0.0
    assert (scores - logits).abs().max() <= 7e-4
    assert (logits[0] - logits[1]).abs().max() > 1e-2  # the images are told apart
