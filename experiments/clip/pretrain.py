"""Stage ``pretrain``: a small CLIP, trained by contrasting images with captions of their classes.

The loss is the contrastive one of CLIP with the pairs of one class counted as positives, not as
negatives (UniCL, Yang et al. 2022): a batch has several images of a class.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from experiments.clip.embeddings import class_embeddings
from experiments.clip.inputs import load_seen
from experiments.clip.models import WEIGHTS, build_model, make_tokenizer, preprocessing
from experiments.clip.prompts import captions, class_names, templates
from experiments.frame.fields import given
from experiments.frame.machine import choose_device, ieee_float32
from experiments.images.config import pretraining_data
from experiments.images.training import Trainer, precision
from experiments.training import train

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run

#: Largest scale of the similarities, as in CLIP.
MAX_SCALE = 100.0


@ieee_float32()
def pretrain(config: ClipConfig, run: Run) -> None:
    """Train a CLIP and measure it on upright test images, once, at the end.

    Raises:
        Interrupted: If the process was asked to stop; the current epoch starts again next time.
    """
    data, recipe = pretraining_data(config), given(config.task.pretrain)
    device = choose_device(config.device)
    images = load_seen(data, config.model, "train")
    words = captions(templates(data), class_names(data, images.classes))
    tokenizer = make_tokenizer(config.model)
    ids = torch.stack([tokenizer(lines) for lines in words]).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: Any = build_model(config.model)
    model.to(device, memory_format=torch.channels_last)
    see = preprocessing(config.model)

    def loss(inputs: Tensor, labels: Tensor) -> Tensor:
        present, index = labels.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        chosen = torch.randint(ids.shape[1], (len(present),)).to(device)
        with precision(recipe.precision, device):
            seen = model.encode_image(inputs, normalize=True)
            said = model.encode_text(ids[present, chosen], normalize=True)
        scale = model.logit_scale.clamp(max=math.log(MAX_SCALE)).exp()
        return contrast(scale * seen.float() @ said.float().T, index)

    trainer = Trainer(
        model, loss, _optimiser(model, recipe.weight_decay), images, see, recipe, config.seed
    )
    losses = train(trainer, run, f"train {config.model.name} on {data.name}")
    columns = {"dataset": data.name}
    for epoch, value in enumerate(losses, start=1):
        run.row("contrastive_loss", value, split="train", step=epoch, **columns)
    model.eval()
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(MAX_SCALE))
    test = load_seen(data, config.model, "test")
    classifier = class_embeddings(model, ids, "float32")
    right = [
        _similarities(model, see(pixels.to(device)), classifier).argmax(dim=-1).cpu()
        for pixels in torch.split(test.pixels, config.task.feature_batch)
    ]
    accuracy = 100 * float((torch.cat(right) == test.labels).double().mean())
    run.row("top1_accuracy", accuracy, split="test", step=recipe.epochs, **columns)
    run.fact("parameters", sum(value.numel() for value in model.parameters()))
    run.fact("images", len(images.labels))
    run.fact("device", str(device))
    run.save(WEIGHTS, model.state_dict())


def _optimiser(model: nn.Module, decay: float) -> torch.optim.Optimizer:
    """Return AdamW; as in CLIP, without weight decay on gains, biases and the scale."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)


def contrast(
    logits: Float[Tensor, "batch classes"], index: Int64[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Return the contrastive loss of images and one caption per class present.

    Args:
        logits: Scaled similarities, [B, C].
        index: The class of each image, [B]; every class occurs.
    """
    images = functional.cross_entropy(logits, index)
    # Every image of a caption's class is a positive.
    own = functional.one_hot(index, logits.shape[1]).to(logits.dtype)
    shares = own / own.sum(dim=0)
    texts = -(shares * logits.log_softmax(dim=0)).sum(dim=0).mean()
    return (images + texts) / 2


@torch.inference_mode()
def _similarities(model: Any, inputs: Tensor, classifier: Tensor) -> Tensor:
    """Return the similarities of images and classes, [B, K]."""
    seen: Tensor = model.encode_image(inputs, normalize=True)
    return seen @ classifier
