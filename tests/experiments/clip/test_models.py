"""Models and their words: open_clip's own, found by name, refused in one line."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import equitune
from experiments.clip.checkpoints import put
from experiments.clip.embeddings import class_embeddings
from experiments.clip.models import (
    build_model,
    make_tokenizer,
    preprocessing,
    pretrained_model,
)
from experiments.clip.options import ClipModel
from experiments.clip.prompts import captions, class_names, templates
from experiments.clip.scoring import LOSSES, Scorer
from experiments.frame.conf import CONF
from experiments.frame.errors import UserError
from experiments.frame.files import save_tensors
from experiments.frame.options import AnyConfig
from experiments.images.sets import load_images
from experiments.images.symmetries import make_action
from tests.experiments.clip.small import SMALL

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]


class Bare:
    """A run that keeps its facts."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def fact(self, name: str, value: Any) -> None:
        self.facts[name] = value


def small(configure: Configure) -> ClipModel:
    model: ClipModel = configure("task=clip", *SMALL).model
    return model


def test_the_classifier_is_open_clips(configure: Configure) -> None:
    import open_clip

    config = configure("task=clip", *SMALL)
    torch.manual_seed(0)
    model: Any = build_model(config.model).eval()
    tokenizer = make_tokenizer(config.model)
    names, lines = ("cat", "music notes"), templates(config.dataset)
    ids = torch.stack([tokenizer(row) for row in captions(lines, names)])
    expected = open_clip.build_zero_shot_classifier(model, tokenizer, names, lines)
    torch.testing.assert_close(class_embeddings(model, ids, "float32"), expected)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "symbols", "imagenet_v2"])
def test_every_data_set_has_templates(configure: Configure, dataset: str) -> None:
    size = ("dataset.size=32",) if dataset == "imagenet_v2" else ()
    config = configure("task=clip", *SMALL, f"dataset={dataset}", *size)
    counts = {"cifar10": 18, "cifar100": 18, "symbols": 8, "imagenet_v2": 80}
    lines = templates(config.dataset)
    assert len(set(lines)) == len(lines) == counts[dataset]
    assert all(line.count("{}") == 1 for line in lines)


def test_names_of_classes(configure: Configure, tmp_path: Path) -> None:
    data = configure("task=clip", *SMALL).dataset
    assert class_names(data, ("maple_tree", "cat")) == ("maple tree", "cat")
    listed = tmp_path / "names.txt"
    listed.write_text("a tree\n\nan animal\n")
    data = dataclasses.replace(data, class_names=str(listed))
    assert class_names(data, ("maple_tree", "cat")) == ("a tree", "an animal")
    with pytest.raises(UserError, match="has 2 names; dataset=symbols has 3 classes"):
        class_names(data, ("1", "2", "3"))
    with pytest.raises(UserError, match="no such file"):
        class_names(dataclasses.replace(data, class_names="nowhere"), ("1",))
    imagenet = dataclasses.replace(data, class_names="imagenet")
    assert class_names(imagenet, tuple(map(str, range(1000))))[0] == "tench"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a photo\n", "must have one {}"),
        ("{} {}\n", "must have one {}"),
        ("# no\n", "no templates"),
    ],
)
def test_bad_templates(configure: Configure, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        configure("task=clip", *SMALL, f"dataset.prompts={path}")


def test_unknown_templates(configure: Configure) -> None:
    with pytest.raises(UserError, match="cifar, imagenet, photo, pictograms") as error:
        configure("task=clip", *SMALL, "dataset.prompts=cifer")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model=open_clip", "model.architecture=RN5O", "model.weights=openai"),
            "near it are: RN50",
        ),
        (("model=RN50", "model.weights=opnai"), "near it are: openai"),
        (("model=RN50", "model.weights=ours"), "model.weights=ours is unknown"),
        (("model=RN50", "model.std=[1,1]"), "must be three numbers"),
        (("model=RN50", "stage=pretrain"), "choose model=SmallCLIP"),
        (("model.weights=openai",), "is trained (ours) or loaded"),
        (("model.architecture=RN50",), "belongs to model.architecture=custom"),
        (("method=lambda_equitune", "group=trivial"), "one view to weigh"),
        (("task.maximum=elementwise",), "choose task.space=probabilities"),
        (("method=lambda_equitune", "task.lambda_as=temperature"), "task.space=probabilities"),
        (("method=lambda_equitune", "task.validation=0"), "needs held-out images"),
        (("task.training=image_encoder", "task.validation=0"), "needs held-out images"),
        (("stage=finetune",), "needs task.training=image_encoder"),
        (("stage=lambda",), "belongs to method=lambda_equitune"),
        (("task.draw=batch",), "needs task.draw_batch"),
        (("task.transform=rot45",), "choose from: auto, none, rot90"),
        (("group=verb",), "does not act on dataset=symbols"),
        (("model.checkpoint=nowhere.safetensors",), "no such file"),
    ],
)
def test_bad_input_is_one_line(
    configure: Configure, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError) as error:
        configure("task=clip", *overrides)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_any_other_model_is_completed_from_open_clip(configure: Configure) -> None:
    chosen = ("model.architecture=ViT-B-16-SigLIP", "model.weights=webli")
    model = configure("task=clip", "model=open_clip", *chosen).model
    assert (model.size, model.mean, model.std) == (224, [0.5] * 3, [0.5] * 3)
    assert model.interpolation == "bicubic"


@pytest.mark.parametrize("name", ["RN50", "RN101", "ViT-B-32", "ViT-B-16"])
def test_the_papers_models_are_seen_as_open_clip_sees_them(configure: Configure, name: str) -> None:
    import open_clip

    model = configure("task=clip", f"model={name}").model
    tag = open_clip.get_pretrained_cfg(name, "openai")
    towers = open_clip.get_model_config(name)
    assert tag and towers["vision_cfg"]["image_size"] == model.size
    assert tuple(model.mean) == tuple(tag.get("mean", open_clip.OPENAI_DATASET_MEAN))
    assert tuple(model.std) == tuple(tag.get("std", open_clip.OPENAI_DATASET_STD))
    assert tag.get("interpolation", "bicubic") == model.interpolation
    files = configure("task=clip", f"model={name}", "dataset=imagenet_v2", "dataset.root=.").model
    assert files.resize_mode == tag["resize_mode"]
    # Its own name means another activation than the weights were trained with.
    assert tag["quick_gelu"] and not towers.get("quick_gelu")


def test_preprocessing_is_open_clips(configure: Configure) -> None:
    import open_clip
    from PIL import Image

    model = configure("task=clip", "model=ViT-B-32").model
    pixels = load_images(configure("task=clip").dataset, "test").pixels[:4]
    transform = open_clip.image_transform(
        model.size, is_train=False, mean=tuple(model.mean), std=tuple(model.std)
    )
    expected = torch.stack([transform(Image.fromarray(p.permute(1, 2, 0).numpy())) for p in pixels])
    found = preprocessing(model)(pixels)
    levels = (found - expected).abs() * torch.tensor(model.std)[:, None, None] * 255
    assert levels.max() <= 2 + 1e-3 and levels.mean() < 0.02


def test_a_checkpoint_is_loaded_whole_or_refused(configure: Configure, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = build_model(small(configure)).state_dict()
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {name: value for name, value in state.items() if name != "attn_mask"})
    config = configure("task=clip", *SMALL, f"model.checkpoint={path}")
    run = Bare()
    loaded = pretrained_model(config, run).state_dict()  # type: ignore[arg-type]
    assert loaded.keys() == state.keys() and set(run.facts) == {"checkpoint_sha256"}
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    other = build_model(small(configure))
    for change, message in (
        ({"logit_scale": None}, "it needs logit_scale"),
        ({"extra": torch.zeros(1)}, "it has no extra"),
        ({"logit_scale": torch.zeros(2)}, r"it has logit_scale \[2\] instead of \[\]"),
    ):
        wrong = {name: value for name, value in (state | change).items() if value is not None}
        with pytest.raises(UserError, match=f"not those of custom: {message}"):
            put(other, wrong, config.model)


@pytest.mark.parametrize("name", ["RN50", "ViT-B-32"])
def test_models_of_the_paper_are_invariant_and_agree_with_a_loop(
    configure: Configure, name: str
) -> None:
    """Random weights, images of 224 pixels, double precision."""
    config = configure("task=clip", f"model={name}")
    torch.manual_seed(0)
    encoder = build_model(config.model).visual.double().eval()  # type: ignore[union-attr,operator]
    pixels = load_images(config.dataset, "test").pixels[:1]
    inputs = preprocessing(config.model)(pixels).double()
    action = make_action("rot90")
    with torch.no_grad():
        views = torch.cat([encoder(action.act(g, inputs)) for g in action.group.elements])
        upright, turned = (
            encoder(action.orbit(x).flatten(0, 1))[:, None] for x in (inputs, action.act(1, inputs))
        )
    width = views.shape[-1]
    classifier = nn.functional.normalize(torch.randn(width, 7, dtype=torch.float64), dim=0)
    units = views / views.norm(dim=-1, keepdim=True)
    net = equitune.LambdaNet(width).double()
    with torch.no_grad():
        weights = net(units)
    best = int((units @ classifier).amax(dim=-1).argmax())
    means = {
        "equitune": units.mean(dim=0),
        "equizero": units[best],
        "lambda_equitune": (weights / weights.sum()) @ units,
    }
    rules: dict[str, equitune.Weighting] = {
        "equitune": equitune.Uniform(),
        "equizero": equitune.Select(LOSSES["similarity"]),
        "lambda_equitune": equitune.Learned(net),
    }
    for method, rule in rules.items():
        scorer = Scorer(rule, classifier, 100.0, "features").eval()
        expected = 100 * means[method] / means[method].norm() @ classifier
        with torch.no_grad():
            found, again = scorer(upright)[0], scorer(turned)[0]
        torch.testing.assert_close(found, expected.log_softmax(dim=-1), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(again, found, rtol=1e-9, atol=1e-9)


def test_the_line_of_a_missing_model_comes_before_anything_heavy(run_py: RunPy) -> None:
    done = run_py("task=clip", "model=open_clip", "model.architecture=RN5O", "model.weights=openai")
    assert done.returncode != 0 and "near it are: RN50" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_model_of_the_task_has_a_file() -> None:
    assert {"RN50", "RN101", "ViT-B-32", "ViT-B-16", "SmallCLIP", "open_clip"} <= {
        path.stem for path in (CONF / "model").glob("*.yaml")
    }
