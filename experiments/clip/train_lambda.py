"""Stage ``lambda``: the weights of views, learned on stored embeddings (Section 5.2.1 and D.4)."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import torch

from experiments.clip.scoring import learning_loss, make_scorer
from experiments.clip.training_data import (
    DROPOUT,
    NET,
    Batch,
    accuracy,
    batches,
    divide,
    judging_split,
    load_text,
    load_training,
)
from experiments.frame.fields import given
from experiments.frame.seeds import derive
from experiments.lambdas import build_net, descend
from experiments.training import is_finite

if TYPE_CHECKING:
    from torch import Tensor

    import equitune
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run

LAMBDA = "lambda.safetensors"
#: Steps between two measurements, from which the best state is taken.
EVERY = 100
MOMENTUM = 0.9


def train(config: ClipConfig, run: Run) -> None:
    """Train lambda with the model frozen, and store the state that the selection asks for.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    settings, task = config.method.lambda_net, config.task
    assert settings is not None
    classifier, own_scale = load_text(config, run)
    images = load_training(config, run)
    split = divide(config, len(images.labels), task.lambda_images)
    judged = images.take(split.judging)
    steps, size = settings.budget()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, NET))
        net = build_net(images.shape[0], settings, task.lambda_relus)
        scorer = make_scorer(config, classifier, own_scale, net)
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
    run.save(LAMBDA, kept)


def load_lambda(config: ClipConfig, run: Run, width: int) -> equitune.LambdaNet | None:
    """Return lambda, frozen, or None for other methods.

    Args:
        config: The configuration.
        run: The run in progress, which needs lambda.
        width: Width of the embeddings.
    """
    settings = config.method.lambda_net
    if settings is None:
        return None
    finished = run.need("lambda")
    state, _ = finished.tensors(LAMBDA)
    # The random initial weights are replaced.
    with torch.random.fork_rng(devices=[]):
        net = build_net(width, settings, config.task.lambda_relus)
    net.load_state_dict(state)
    return net.requires_grad_(False)
