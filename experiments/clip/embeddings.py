"""Stages ``text``, ``features_train`` and ``features_test``: what CLIP's two encoders make.

Classes are embedded from captions (Radford et al. 2021, Section 3.1), images in all their views.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from experiments.clip.fingerprint import views
from experiments.clip.inputs import open_seen
from experiments.clip.models import (
    image_encoder,
    make_tokenizer,
    preprocessing,
    pretrained_model,
)
from experiments.clip.prompts import captions, class_names, templates
from experiments.frame.errors import UserError
from experiments.frame.machine import choose_device, ieee_float32
from experiments.images.arrays import Split
from experiments.images.extraction import Extraction, Orbits, Watch, extract, load_orbits, watched
from experiments.images.sets import open_images
from experiments.images.training import precision

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run

log = logging.getLogger(__name__)

TEXT = "text.safetensors"
#: Captions per forward pass; affects memory use, not results.
BATCH = 512
SHORTER = "dataset.prompts=photo makes it shorter: one caption of each class"


@torch.inference_mode()
def class_embeddings(
    model: Any,
    ids: Int64[Tensor, "classes templates length"],
    name: str,
    watch: Watch = lambda network: network,
) -> Float[Tensor, "embedding classes"]:
    """Return one unit vector per class: the mean of the unit vectors of its captions, normalised.

    Args:
        model: A CLIP.
        ids: The captions.
        name: Precision of the matrix products.
        watch: Shows how many captions are done.
    """
    flat, embed = ids.flatten(0, 1), watch(partial(model.encode_text, normalize=True))
    with precision(name, ids.device):
        parts = [embed(part).float() for part in torch.split(flat, BATCH)]
    means = torch.cat(parts).reshape(*ids.shape[:2], -1).mean(dim=1)
    return functional.normalize(means, dim=-1).T.contiguous()


@ieee_float32()
def text(config: ClipConfig, run: Run) -> None:
    """Embed the classes of a data set, and store the model's scale with them.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If an embedding is not finite.
    """
    found = open_images(config.dataset, "test").classes
    names, lines = class_names(config.dataset, found), templates(config.dataset)
    device = choose_device(config.device)
    model: Any = pretrained_model(config, run).to(device)
    tokenizer = make_tokenizer(config.model)
    ids = torch.stack([tokenizer(row) for row in captions(lines, names)]).to(device)
    label = f"captions of {config.dataset.name} by {config.model.name}"
    log.info("%s: %d classes x %d captions", label, ids.shape[0], ids.shape[1])
    total = ids.shape[0] * ids.shape[1]
    with watched(run, label, total, "begins again", shorter=SHORTER) as watch:
        classifier = class_embeddings(model, ids, config.task.precision, watch)
    if not classifier.isfinite().all():
        raise UserError(f"the captions of {config.model.name} have numbers that are not finite")
    scale = float(model.logit_scale.exp())
    run.row("captions", ids.shape[0] * ids.shape[1])
    run.fact("templates", list(lines))
    run.fact("class_names", list(names))
    run.fact("device", str(device))
    run.save(TEXT, {"classifier": classifier.cpu()}, {"scale": scale})


@ieee_float32()
def _extract(config: ClipConfig, run: Run, split: Split) -> None:
    """Compute and store the encoder's embeddings of one split.

    Raises:
        Interrupted: If the process was asked to stop.
        UserError: If there is too little disk space.
    """
    images = open_seen(config.dataset, config.model, split)
    device = choose_device(config.device)
    model: Any = pretrained_model(config, run).to(device)
    label = f"embeddings of {config.dataset.name} ({split}) by {config.model.name}"
    how = extraction(config, image_encoder(model), device)
    extract(run, images, how, split, label, config.task.max_images)


def extraction(config: ClipConfig, encoder: nn.Module, device: torch.device) -> Extraction:
    """Return the feature extraction of all views through an image encoder on a device."""
    task = config.task

    def embed(inputs: Tensor) -> Tensor:
        with precision(task.precision, device):
            found: Tensor = encoder(inputs)
        return found

    return Extraction(embed, preprocessing(config.model), views(config), task.feature_batch, device)


train = partial(_extract, split="train")
test = partial(_extract, split="test")


def load_features(config: ClipConfig, run: Run, split: Split) -> Orbits:
    """Return the embeddings that a run builds on, [V, N, D]."""
    return load_orbits(run.need(f"features_{split}"))
