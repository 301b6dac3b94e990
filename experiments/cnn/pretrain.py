"""Stage ``pretrain``: a backbone, trained on upright images (Section 5.2.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from experiments.cnn.backbones import Backbone, build_backbone, preprocessing
from experiments.cnn.checkpoints import class_count, imagenet_file, imagenet_weights, put_weights
from experiments.external.weight_files import load_weights
from experiments.frame.fields import given
from experiments.frame.files import file_digest
from experiments.frame.machine import choose_device
from experiments.images.config import pretraining_data, warn_of_training
from experiments.images.inputs import Preprocessing
from experiments.images.sets import ImageSet, load_images
from experiments.images.training import Trainer, precision
from experiments.training import train

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run

WEIGHTS = "model.safetensors"


def pretrain(config: CnnConfig, run: Run) -> None:
    """Train a backbone and measure it on upright test images, once, at the end.

    Raises:
        Interrupted: If the process was asked to stop; the current epoch starts again next time.
    """
    data, recipe = pretraining_data(config), given(config.task.pretrain)
    seed = given(config.task.pretrain_seed)
    device = choose_device(config.device)
    images = load_images(data, "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(config.model.architecture, data.classes, config.model.size)
    see = preprocessing(config.model)
    network = backbone.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )

    def loss(inputs: Tensor, labels: Tensor) -> Tensor:
        with precision(recipe.precision, device):
            logits = network(inputs)
        smoothing = recipe.label_smoothing
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    trainer = Trainer(network, loss, optimiser, images, see, recipe, seed)
    losses = train(trainer, run, f"train {config.model.name} on {data.name}")
    columns = {"dataset": data.name, "seed": seed}
    for epoch, value in enumerate(losses, start=1):
        run.row("cross_entropy", value, split="train", step=epoch, **columns)
    test = load_images(data, "test")
    logits = predict(backbone, test, see, config.task.feature_batch, device)
    correct = (logits.argmax(dim=-1) == test.labels).double()
    accuracy = 100 * float(correct.mean())
    run.row("top1_accuracy", accuracy, split="test", step=recipe.epochs, **columns)
    run.fact("parameters", sum(value.numel() for value in backbone.parameters()))
    run.fact("images", len(images.labels))
    run.fact("classes", list(images.classes))
    run.fact("device", str(device))
    run.save(WEIGHTS, backbone.model.state_dict(), {"classes": data.classes})


@torch.inference_mode()
def predict(
    backbone: Backbone, images: ImageSet, see: Preprocessing, batch: int, device: torch.device
) -> Tensor:
    """Return the logits of all images, not turned, [N, K], in single precision."""
    backbone.eval().to(device)
    parts = [
        backbone(see(part.to(device))).float().cpu() for part in torch.split(images.pixels, batch)
    ]
    return torch.cat(parts)


def pretrained_backbone(config: CnnConfig, run: Run) -> Backbone:
    """Return the frozen network of a run: the suite's, ImageNet's, or from a file."""
    model = config.model
    if model.checkpoint is not None:
        weights = load_weights(Path(model.checkpoint))
        run.fact("checkpoint_sha256", file_digest(Path(model.checkpoint)))
    elif model.weights == "imagenet":
        path, commit, sha256 = imagenet_file(model)
        weights = imagenet_weights(model.architecture, path)
        run.fact("weights", {"file": path.name, "sha256": sha256, "commit": commit})
    else:
        warn_of_training(config, "model=AlexNet (ImageNet)")
        finished = run.need("pretrain")
        weights, _ = finished.tensors(WEIGHTS)
    classes = class_count(weights, model.architecture)
    # The random initial weights are replaced.
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(model.architecture, classes, model.size)
    put_weights(backbone, weights)
    return backbone.eval().requires_grad_(False)
