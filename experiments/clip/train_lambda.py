"""Stage ``lambda``: the weights of views, learned on stored embeddings (Section 5.2.1 and D.4)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from experiments.clip.scoring import LOSSES, Scorer, learning_loss, make_scorer, scoring
from experiments.clip.training_data import (
    DROPOUT,
    NET,
    Batch,
    Split,
    accuracy,
    batches,
    divide,
    judging_split,
    load_text,
    load_training,
)
from experiments.frame.fields import given
from experiments.frame.seeds import derive
from experiments.images.fits import FITTED, Fitted, Material, Reading, fit, load
from experiments.images.orbit_data import Stored
from experiments.images.symmetries import make_action
from experiments.lambdas import build_net, descend
from experiments.training import is_finite

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run

#: Steps between two measurements, from which the best state is taken.
EVERY = 100
MOMENTUM = 0.9


def train(config: ClipConfig, run: Run) -> None:
    """Fit a method's weighting with the model frozen, and store it.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If no image is held out for a fit without steps to choose from.
    """
    classifier, own_scale = load_text(config, run)
    images = load_training(config, run)
    split = divide(config, len(images.labels), config.task.lambda_images)
    if config.method.entry.needs_pose or config.method.lambda_net is None:
        material = Material(
            _reading(config, images.shape[0]),
            images.take(split.learned),
            images.take(split.judging),
            scoring(config, classifier, own_scale),
        )
        loss = None if config.task.loss is None else LOSSES[config.task.loss]
        fit(config.method, run, material, loss, config.seed)
    else:
        _learn(config, run, partial(make_scorer, config, classifier, own_scale), images, split)


def _learn(
    config: ClipConfig,
    run: Run,
    make: Callable[[Fitted], Scorer],
    images: Stored,
    split: Split,
) -> None:
    """Train lambda by labels, and store the state that the selection asks for."""
    settings, task = config.method.lambda_net, config.task
    assert settings is not None
    judged = images.take(split.judging)
    steps, size = settings.budget()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, NET))
        net = build_net(images.shape[0], settings, task.lambda_relus)
        scorer = make(Fitted(net))
        sgd = partial(
            torch.optim.SGD,
            lr=settings.learning_rate,
            momentum=MOMENTUM,
            weight_decay=settings.weight_decay,
        )
        torch.manual_seed(derive(config.seed, DROPOUT))
        best, kept, chosen = -1.0, copy.deepcopy(net.state_dict()), 0
        todo = batches(config, split.learned, size, steps, images.turns)

        def loss(batch: Batch) -> Tensor:
            scores = scorer(images.views(*batch))
            return learning_loss(given(task.training_loss), scores, images.labels[batch.rows])

        def look(step: int, _: float) -> None:
            nonlocal best, kept, chosen
            value = accuracy(config, scorer, judged)
            run.row("top1_accuracy", value, split=judging_split(config), step=step)
            # The last finite state is stored.
            if is_finite(net) and (value > best or task.selection == "last"):
                best, kept, chosen = value, copy.deepcopy(net.state_dict()), step

        done = descend(run, net, todo, loss, steps, sgd, look, every=EVERY)
    if done.diverged is not None:
        run.row("diverged_step", done.diverged, split="train")
    run.row("selected_step", chosen, split="train")
    run.fact("images", len(split.learned))
    run.fact("device", "cpu")
    run.save(FITTED, kept)


def load_lambda(config: ClipConfig, run: Run, width: int) -> Fitted:
    """Return what the method of a run has learned, frozen; nothing if it has none.

    Args:
        config: The configuration.
        run: The run in progress, which needs it.
        width: Width of the embeddings.
    """
    if not config.method.is_fitted:
        return Fitted(temperature=config.method.temperature)
    tensors, _ = run.need("lambda").tensors(FITTED)
    return load(config.method, tensors, _reading(config, width))


def _reading(config: ClipConfig, width: int) -> Reading:
    group = make_action(config.group.name).group
    return Reading(group, width, _units, _units, config.task.lambda_relus)


def _units(embeddings: Tensor) -> Tensor:
    """Return unit vectors, [N, D]."""
    return functional.normalize(embeddings, dim=-1)
