"""Training data of lambda and fine-tuning: images, their order and their transforms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from experiments.clip.embeddings import TEXT, load_features
from experiments.frame.errors import UserError
from experiments.frame.seeds import derive
from experiments.images.orbit_data import Stored, TurnedImages, over_turns

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.clip.scoring import Scorer
    from experiments.frame.records import Run

#: Purposes of generators: held-out images; initial lambda; order and transforms; dropout of
#: training; dropout of an evaluation; its transforms; dropout of a step of fine-tuning.
SPLIT, NET, ORDER, DROPOUT, EVALUATION, TRANSFORM, STEP = (*range(5), 100, 101)
#: Number of training images, the first ones, by which the authors' code chooses lambda.
FIRST = 1600


class Batch(NamedTuple):
    """Images of a step: rows, and the transform of each."""

    rows: Int64[Tensor, " batch"]
    turned: Int64[Tensor, " batch"]


class Split(NamedTuple):
    """Rows of the training images: for learning, and for choosing a step."""

    learned: Int64[Tensor, " n"]
    judging: Int64[Tensor, " m"]


def load_text(config: ClipConfig, run: Run) -> tuple[Tensor, float]:
    """Return the captions' embeddings, [D, K], and the model's own scale."""
    finished = run.need("text")
    tensors, facts = finished.tensors(TEXT)
    return tensors["classifier"], float(facts["scale"])


def load_training(config: ClipConfig, run: Run) -> Stored:
    """Return the orbits of the training images."""
    return Stored(load_features(config, run, "train"), config.group.name, config.task.transform)


def divide(config: ClipConfig, count: int, limit: int | None) -> Split:
    """Divide the training images.

    Args:
        config: The configuration.
        count: Number of images.
        limit: Learn from at most this many images, the first ones; None: all.
    """
    task = config.task
    generator = torch.Generator().manual_seed(derive(config.seed, SPLIT))
    order = torch.randperm(count, generator=generator)
    held_out = int(count * (task.validation or 0.0))
    learned = order[held_out:].sort().values[:limit]
    if task.selection == "validation" and not held_out:
        raise UserError(
            f"task.validation={task.validation} of {count} training images holds none out; raise it"
        )
    first = task.selection == "train" or not held_out
    judging = torch.arange(min(FIRST, count)) if first else order[:held_out].sort().values
    return Split(learned, judging)


def judging_split(config: ClipConfig) -> str:
    """Return the split name of the images that choose a step, as in the result rows."""
    task = config.task
    return "validation" if task.validation and task.selection != "train" else "train"


def batches(
    config: ClipConfig, rows: Int64[Tensor, " n"], size: int, steps: int, turns: int
) -> Iterator[Batch]:
    """Yield the batches of a training, epoch after epoch; the last of an epoch may be smaller.

    Args:
        config: Decides whether images are shuffled, and whether each has its own transform.
        rows: Rows of the training images.
        size: Batch size.
        steps: Number of batches.
        turns: Number of transforms.
    """
    generator = torch.Generator().manual_seed(derive(config.seed, ORDER))
    done = 0
    while done < steps:
        shuffle = config.task.shuffle
        order = rows[torch.randperm(len(rows), generator=generator)] if shuffle else rows
        for chosen in torch.split(order, size):
            if done == steps:
                return
            each = 1 if config.task.draw == "batch" else len(chosen)
            turned = torch.randint(turns, (each,), generator=generator).expand(len(chosen))
            yield Batch(chosen, turned)
            done += 1


@contextmanager
def as_evaluated(config: ClipConfig, scorer: Scorer) -> Iterator[None]:
    """Set lambda's dropout as in evaluations, with a fixed seed, while the body runs."""
    before = scorer.training
    scorer.train(config.task.lambda_dropout == "always")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, EVALUATION))
        yield
    scorer.train(before)


def accuracy(config: ClipConfig, scorer: Scorer, images: TurnedImages) -> float:
    """Return the share of right classes over all images in all transforms, in percent."""

    def right(views: Tensor, labels: Tensor) -> Tensor:
        scores: Tensor = scorer(views.to(scorer.classifier.device))
        return (scores.argmax(dim=-1).cpu() == labels).double()

    with as_evaluated(config, scorer):
        return 100 * float(over_turns(images, right).mean())
