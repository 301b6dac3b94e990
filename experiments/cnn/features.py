"""Stages ``features_*`` and ``stem_*``: the orbits of a split through a backbone, or its stem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from experiments.cnn.backbones import preprocessing
from experiments.cnn.fingerprint import views
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.stems import Cut, pooled
from experiments.frame.fields import given
from experiments.frame.machine import choose_device
from experiments.images.arrays import SPLITS, Split
from experiments.images.extraction import Extraction, Network, Orbits, extract, load_orbits
from experiments.images.sets import open_images

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run


def _features(config: CnnConfig, run: Run, split: Split) -> None:
    """Compute and store the features of one split."""
    backbone = pretrained_backbone(config, run).to(choose_device(config.device))
    _extract(config, run, split, backbone.features, "features")


def _stem(config: CnnConfig, run: Run, split: Split) -> None:
    """Compute and store the averages of the stem's maps of one split."""
    cut = make_cut(config, pretrained_backbone(config, run))
    run.fact("share", cut.share)
    stem = cut.stem.to(choose_device(config.device))
    _extract(config, run, split, lambda images: pooled(stem(images)), "maps")


def make_cut(config: CnnConfig, backbone: Backbone) -> Cut:
    """Return a backbone as the method of a configuration cuts it."""
    return Cut(backbone, given(config.method.stem))


def _extract(config: CnnConfig, run: Run, split: Split, network: Network, what: str) -> None:
    """Compute and store the outputs of a network, which is on the run's device.

    Raises:
        Interrupted: If the process was asked to stop.
        UserError: If there is too little disk space.
    """
    how = Extraction(
        network,
        preprocessing(config.model),
        views(config),
        config.task.feature_batch,
        choose_device(config.device),
    )
    label = f"{what} of {config.dataset.name} ({split}) by {config.model.name}"
    images = open_images(config.dataset, split)
    extract(run, images, how, split, label, config.task.max_images)


features_train, features_test = (partial(_features, split=split) for split in SPLITS)
stem_train, stem_test = (partial(_stem, split=split) for split in SPLITS)


def load_features(config: CnnConfig, run: Run, split: Split) -> Orbits:
    """Return the features that a run builds on, [V, N, C, h, w]."""
    return load_orbits(run.need(f"features_{split}"))
