"""Stages ``features_train`` and ``features_test``: the orbit of a data set through the encoder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.clip.fingerprint import views
from experiments.clip.inputs import open_seen
from experiments.clip.models import image_encoder, preprocessing, pretrained_model
from experiments.frame.machine import choose_device, ieee_float32
from experiments.images.arrays import Split
from experiments.images.extraction import Extraction, Orbits, extract, load_orbits
from experiments.images.training import precision

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run


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
