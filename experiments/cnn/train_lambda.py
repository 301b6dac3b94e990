"""Stage ``lambda``: what a weighting learns while the network and its last layers are frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING

from torch import Tensor, nn

import equitune
from experiments.cnn.fingerprint import is_fitted, probed, stores_stem
from experiments.cnn.heads import LOSSES, OwnHead, Probe, flat
from experiments.cnn.orbit_sources import Beside, make_source, weighable
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.probe import HEADS, build_probe, chosen_epoch, load_state, plan, split
from experiments.cnn.stems import ImageLambda
from experiments.frame.fields import given
from experiments.images.fits import FITTED, UNFITTED, Fitted, Material, Reading, fit, load
from experiments.images.orbit_data import TurnedImages
from experiments.images.symmetries import make_action

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run


def train(config: CnnConfig, run: Run) -> None:
    """Fit the weighting to training images.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If no image is held out, or the training diverges.
    """
    source = make_source(config, run, "train")
    probe = config.task.probe
    share = given(config.task.held_out) if probe is None else probe.validation
    held_out, learned = split(len(source.labels), share, config.seed)
    images, head = weighable(config, run, "train", source, frozen_head(config, run, source))

    def scores(rule: equitune.Weighting) -> Callable[[Tensor], Tensor]:
        combined = Probe(head, rule)
        return lambda features: combined(features).log_softmax(dim=-1)

    material = Material(
        _reading(config, images), images.take(learned), images.take(held_out), scores
    )
    loss = None if config.task.loss is None else LOSSES[config.task.loss]
    fit(config.method, run, material, loss, config.seed)


def load_fitted(config: CnnConfig, run: Run, images: TurnedImages) -> Fitted:
    """Return what the method of a run has learned in this stage; nothing if it has none."""
    if not is_fitted(config):
        return UNFITTED._replace(temperature=config.method.temperature)
    tensors, _ = run.need("lambda").tensors(FITTED)
    return load(config.method, tensors, _reading(config, images))


def frozen_head(config: CnnConfig, run: Run, images: TurnedImages) -> nn.Module:
    """Return the network's own last layers, or the trained ones of the epoch that is reported."""
    if config.task.training == "none":
        head: nn.Module = OwnHead(pretrained_backbone(config, run))
    else:
        made = probed(config)
        finished = run.need("probe", made)
        layers = build_probe(plan(made), images.shape, config.dataset.classes, config.seed)
        tensors, _ = finished.tensors(HEADS)
        load_state(layers, images, tensors, chosen_epoch(config, finished.rows()))
        head = layers.head
    return head.eval().requires_grad_(False)


def _reading(config: CnnConfig, images: TurnedImages) -> Reading:
    group, relus = make_action(config.group.name).group, config.task.lambda_relus
    if not isinstance(images, Beside):
        return Reading(group, math.prod(images.shape), flat, _pooled, relus)
    # The features behind what the choice reads are not there before the choice.
    read = itemgetter((..., slice(images.width)))
    if stores_stem(config):
        return Reading(group, images.width, read, _pooled, relus)
    return Reading(group, ImageLambda.WIDTH, read, _pooled, relus, ImageLambda)


def _pooled(features: Tensor) -> Tensor:
    """Return the mean of every channel over all places, [N, C]."""
    return features.flatten(2).mean(dim=2)
