"""Stages ``features_train`` and ``features_test``: the orbit of a data set through a backbone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from experiments.cnn.backbones import preprocessing
from experiments.cnn.fingerprint import views
from experiments.cnn.pretrain import pretrained_backbone
from experiments.frame.machine import choose_device
from experiments.images.arrays import Split
from experiments.images.extraction import Extraction, Orbits, extract, load_orbits
from experiments.images.sets import open_images

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run


def _extract(config: CnnConfig, run: Run, split: Split) -> None:
    """Compute and store the features of one split.

    Raises:
        Interrupted: If the process was asked to stop.
        UserError: If there is too little disk space.
    """
    images, device = open_images(config.dataset, split), choose_device(config.device)
    backbone = pretrained_backbone(config, run).to(device)
    how = Extraction(
        backbone.features,
        preprocessing(config.model),
        views(config),
        config.task.feature_batch,
        device,
    )
    label = f"features of {config.dataset.name} ({split}) by {config.model.name}"
    extract(run, images, how, split, label, config.task.max_images)


train = partial(_extract, split="train")
test = partial(_extract, split="test")


def load_features(config: CnnConfig, run: Run, split: Split) -> Orbits:
    """Return the features that a run builds on, [V, N, C, h, w]."""
    return load_orbits(run.need(f"features_{split}"))
