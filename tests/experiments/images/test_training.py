"""The training loop and the augmentation, on toys."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from experiments.clip.models import pretrained_model
from experiments.cnn.options import PretrainRecipe
from experiments.cnn.pretrain import pretrained_backbone
from experiments.frame.options import AnyConfig
from experiments.frame.show import describe_run
from experiments.images import config as images_config
from experiments.images.inputs import Preprocessing, augment
from experiments.images.sets import ImageSet
from experiments.images.training import Trainer, precision

SEE = Preprocessing(8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def images() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    pixels = torch.randint(100, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    pixels[labels == 1] += 100
    return ImageSet(pixels, labels, ("dark", "bright"))


def trainer(name: str = "float32") -> Trainer:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 2)
    )
    recipe = PretrainRecipe(
        dataset="letters",
        epochs=4,
        batch_size=8,
        learning_rate=0.05,
        warmup=0.25,
        momentum=0.9,
        weight_decay=0.0,
        label_smoothing=0.0,
        crop=1,
        mirror=False,
        precision=name,
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)

    def loss(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with precision(name, inputs.device):
            logits = network(inputs)
        return functional.cross_entropy(logits.float(), labels)

    return Trainer(network, loss, optimiser, images(), SEE, recipe, seed=3)


def ignore(step: int) -> None:
    pass


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_it_learns_and_a_stopped_training_ends_as_it_would_have(name: str) -> None:
    whole = trainer(name)
    losses = [whole.train_epoch(ignore) for _ in range(4)]
    assert losses[-1] < 0.5 * losses[0]
    first = trainer(name)
    for _ in range(2):
        first.train_epoch(ignore)
    tensors, facts = copy.deepcopy(first.state())
    second = trainer(name)
    second.restore(tensors, facts)
    assert [second.train_epoch(ignore) for _ in range(2)] == losses[2:]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine_to_nothing() -> None:
    known = trainer()
    rates = [known.learning_rate(step) for step in range(20)]
    assert known.steps == 5 and max(rates) == pytest.approx(0.05)
    assert rates.index(max(rates)) == 5
    assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001


def test_an_augmented_image_is_a_shifted_or_mirrored_one() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (50, 3, 6, 6), dtype=torch.uint8, generator=generator)
    moved = augment(pixels, 2, True, generator)
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8
    padded = nn.functional.pad(pixels, (2, 2, 2, 2))
    mirrored = 0
    for index in range(50):
        windows = [padded[index, :, i : i + 6, j : j + 6] for i in range(5) for j in range(5)]
        plain = any(torch.equal(moved[index], window) for window in windows)
        flipped = any(torch.equal(moved[index], window.flip(-1)) for window in windows)
        assert plain or flipped
        mirrored += flipped
    assert 10 < mirrored < 40
    assert torch.equal(augment(pixels, 0, False, generator), pixels)


def test_preprocessing_commutes_with_quarter_turns() -> None:
    pixels = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    turned = torch.rot90(pixels, 1, (-2, -1))
    assert torch.equal(SEE(turned), torch.rot90(SEE(pixels), 1, (-2, -1)))
    large = SEE._replace(size=20)
    expected = torch.rot90(large(pixels), 1, (-2, -1))
    torch.testing.assert_close(large(turned), expected, atol=1e-5, rtol=0)
    assert float(SEE(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)).max()) == 2.0


class Untrained:
    """A run that has no weights yet."""

    def need(self, stage: str) -> None:
        raise LookupError(stage)


@pytest.mark.parametrize(
    ("task", "words", "told"),
    [
        (
            "cnn",
            "dataset=images",
            "model=ResNet20 is trained here, on drawn images of dataset=letters alone; other "
            "weights: model=AlexNet (ImageNet), model.checkpoint=FILE, "
            "task.pretrain.dataset=images",
        ),
        (
            "clip",
            "dataset=images dataset.size=64",
            "model=SmallCLIP is trained here, on the images of dataset=images alone; other "
            "weights: model=ViT-B-32 (OpenAI), model.checkpoint=FILE",
        ),
        ("cnn", "", ""),
        ("clip", "", ""),
    ],
)
def test_a_model_that_learns_from_none_but_drawn_or_own_images_says_so(
    task: str,
    words: str,
    told: str,
    configure: Callable[..., AnyConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(images_config, "_warn_once", images_config.log.warning)
    folder = [f"dataset.root={tmp_path}", "dataset.classes=2"] if words else []
    config, run = configure(f"task={task}", *words.split(), *folder), Untrained()
    load: Any = {"cnn": pretrained_backbone, "clip": pretrained_model}[task]
    with pytest.raises(LookupError, match="pretrain"):
        load(config, run)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == ([told] if told else [])
    line = describe_run(config)
    assert line.endswith(f"task.pretrain.dataset={config.task.pretrain.dataset}")


def test_a_model_with_published_weights_is_described_without_images_to_learn_from(
    configure: Callable[..., AnyConfig],
) -> None:
    for words in (("task=cnn", "model=AlexNet"), ("task=clip", "model=RN50"), ("task=scan",)):
        assert "pretrain" not in describe_run(configure(*words))
