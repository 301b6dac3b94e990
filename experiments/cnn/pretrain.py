"""Stage ``pretrain``: a backbone, trained on upright images (Section 5.2.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from experiments.cnn.backbones import Backbone, build_backbone
from experiments.cnn.identity import source
from experiments.cnn.inputs import Preprocessing, preprocessing
from experiments.cnn.training import Trainer
from experiments.cnn.weights import class_count, imagenet_weights, load_weights, put_weights
from experiments.environment import choose_device
from experiments.errors import Interrupted
from experiments.files import sha256
from experiments.images.sets import ImageSet, load_images
from experiments.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.records import Run
    from experiments.schema import RunConfig

WEIGHTS = "model.safetensors"
#: Steps between two looks at signals.
LOOK_EVERY = 20


class _Stop(Exception):
    """An epoch is left in the middle; it begins again next time."""


def pretrain(config: RunConfig, run: Run) -> None:
    """Train a backbone and measure it on upright test images, once, at the end.

    Raises:
        Interrupted: If the process was asked to stop; the epoch in progress begins again.
    """
    data, recipe, seed = source(config), config.task.pretrain, config.task.pretrain_seed
    device = choose_device(config.device)
    images = load_images(data, "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(config.model.architecture, data.classes, config.model.size)
    see = preprocessing(config.model)
    trainer = Trainer(backbone.model, images, see, recipe, seed, device)
    losses: list[float] = []
    if (kept := run.resume()) is not None:
        tensors, facts = kept
        losses = list(facts["losses"])
        trainer.restore(tensors, facts)
    _train(trainer, run, losses, f"train {config.model.name} on {data.name}")
    columns = {"dataset": data.name, "seed": seed}
    for epoch, loss in enumerate(losses, start=1):
        run.row("cross_entropy", loss, split="train", step=epoch, **columns)
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


def _train(trainer: Trainer, run: Run, losses: list[float], label: str) -> None:
    """Train the epochs that are left; a checkpoint after each."""
    epochs = trainer.recipe.epochs
    with progress(label, epochs * trainer.steps, trainer.epoch * trainer.steps) as bar:

        def look(step: int) -> None:
            if step % LOOK_EVERY == 0:
                bar.update(step, f"loss {losses[-1]:.3f}" if losses else "")
                if run.should_checkpoint:
                    raise _Stop

        while trainer.epoch < epochs:
            try:
                losses.append(trainer.train_epoch(look))
            except _Stop:
                raise Interrupted(f"stopped on request; {run.folder.name} resumes") from None
            run.tracker.log({"cross_entropy": losses[-1]}, trainer.epoch)
            tensors, facts = trainer.state()
            run.checkpoint(tensors, facts | {"losses": losses})


@torch.inference_mode()
def predict(
    backbone: Backbone, images: ImageSet, see: Preprocessing, batch: int, device: torch.device
) -> Tensor:
    """Return the logits of all images as they stand, [N, K], in single precision."""
    backbone.eval().to(device)
    parts = [
        backbone(see(part.to(device))).float().cpu() for part in torch.split(images.pixels, batch)
    ]
    return torch.cat(parts)


def pretrained_backbone(config: RunConfig, run: Run) -> Backbone:
    """Return the frozen network that a run builds on: ours, ImageNet's, or from a file."""
    model = config.model
    if model.checkpoint is not None:
        weights = load_weights(Path(model.checkpoint))
        run.fact("checkpoint_sha256", sha256(Path(model.checkpoint)))
    elif model.weights == "imagenet":
        weights = imagenet_weights(model.architecture)
    else:
        finished = run.need("pretrain")
        run.fact("pretrained_by", finished.record["name"])
        weights, _ = finished.tensors(WEIGHTS)
    classes = class_count(weights, model.architecture)
    # Initial weights are drawn, and replaced.
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(model.architecture, classes, model.size)
    put_weights(backbone, weights)
    return backbone.eval().requires_grad_(False)
