"""Stages ``evaluate`` (Figures 4, 5a, 7, 8, 11a and 12) and ``continuity`` of CLIP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import equitune
from experiments.clip.embeddings import load_features
from experiments.clip.finetune import load_finetuned
from experiments.clip.measures import Outcomes, calibration_error, drawn, outcomes
from experiments.clip.models import image_encoder, preprocessing, pretrained_model
from experiments.clip.scoring import Scorer, make_scorer
from experiments.clip.train_lambda import load_lambda
from experiments.clip.training_data import as_evaluated, load_text
from experiments.costs import parameters, rows_read
from experiments.estimates import estimate
from experiments.frame.machine import choose_device, ieee_float32
from experiments.frame.methods import Kind
from experiments.images.arrays import encode_png
from experiments.images.config import is_ours
from experiments.images.continuity import largest_jump
from experiments.images.equivariance import checked, equivariance_error
from experiments.images.extraction import Orbits, shuffled
from experiments.images.fits import Fitted
from experiments.images.orbit_data import Stored, over_turns
from experiments.images.symmetries import make_action, members

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run


log = logging.getLogger(__name__)

#: The image whose views Figure 12 shows.
SHOWN = "shown.png"
REAL = (
    "this is a small CLIP of our own; the paper's, from the hub: "
    "model=RN50 dataset=cifar100 scale=paper"
)


@ieee_float32()
def evaluate(config: ClipConfig, run: Run) -> None:
    """Measure a method on the transforms of the test images.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    if is_ours(config) and config.dataset.kind != "folder":
        log.info("%s", REAL)
    features, fitted, scorer, before = _load(config, run)
    after = before
    if config.task.training == "none":
        _measure(config, run, scorer, features)
    else:
        tuned = load_finetuned(config, run, before, features)
        chosen = features
        for step in tuned.steps:
            seen = tuned.features(step)
            _measure_step(config, run, scorer, seen, step)
            chosen = seen if step == tuned.chosen else chosen
        run.row("selected_step", tuned.chosen, split="test")
        after = tuned.at(tuned.chosen)
        _measure(config, run, scorer, chosen)
    if scorer.net is not None:
        _write_shares(config, run, scorer, Stored(features, config.group.name, "none"))
    device = choose_device(config.device)
    whole = _Whole(after, before, make_action(config.group.name), scorer).to(device)
    _check_whole(config, run, whole, features.sample.to(device))
    columns = {"split": "test", "transform": config.task.transform}
    run.row("training_seconds", run.spent_on("lambda", "finetune"), **columns)
    trained = parameters(scorer.net, fitted.rank, None if after is before else after)
    run.row("trained_parameters", trained + config.method.fits_temperature, **columns)
    run.fact("device", str(device))


def measure_jump(config: ClipConfig, run: Run) -> None:
    """Measure the largest jump of the evaluated model (stage ``continuity``).

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    run.need("evaluate")
    features, _, scorer, before = _load(config, run)
    after = before
    if config.task.training != "none":
        tuned = load_finetuned(config, run, before, features)
        after = tuned.at(tuned.chosen)
    whole = _Whole(after, before, make_action(config.group.name), scorer).eval()
    action, inputs = make_action(_turned(config)), _inputs(config, features.sample)
    columns = {"split": "test", "transform": config.task.transform}
    run.row("jump", largest_jump(run, whole, inputs, action, config.seed), **columns)
    run.fact("device", "cpu")


def _load(config: ClipConfig, run: Run) -> tuple[Orbits, Fitted, Scorer, nn.Module]:
    """Return the test images, what the weighting learned, the scorer, the pretrained encoder."""
    classifier, own_scale = load_text(config, run)
    features = load_features(config, run, "test")
    fitted = load_lambda(config, run, features.values.shape[-1])
    scorer = make_scorer(config, classifier, own_scale, fitted)
    return features, fitted, scorer, image_encoder(pretrained_model(config, run))


def _turned(config: ClipConfig) -> str:
    """Return the group that changes the images of a check of the whole model."""
    if config.group.name != "trivial":
        return config.group.name
    return config.task.transform if config.task.transform != "none" else "rot90"


def _inputs(config: ClipConfig, sample: Tensor) -> Tensor:
    """Return the images of such a check."""
    return preprocessing(config.model)(checked(sample, config.task.max_images))


def _measure(config: ClipConfig, run: Run, scorer: Scorer, features: Orbits) -> None:
    """Write the measures of the test images.

    The calibration error pools all images in all transforms, even if one transform per image is
    drawn: its bins need many values.
    """
    images = _images(config, features, config.group.name)
    with as_evaluated(config, scorer):
        found = outcomes(scorer, images)
    shown, transform = _average(config, found), config.task.transform
    learns = config.method.uses_labels or config.task.training != "none"
    if not learns or transform == config.group.name:
        # The learned weights depend on the transform, which this row does not name.
        upright = found.top1[0]
        estimate(upright).write(run, "top1_accuracy", split="test", transform="none")
    columns = {"split": "test", "transform": transform}
    if transform != "none":
        estimate(shown.top1).write(run, "top1_accuracy", **columns)
        for turn, values in zip(members(transform), found.top1, strict=True):
            estimate(values).write(run, "top1_accuracy", **columns, view=str(turn))
    estimate(shown.top5).write(run, "top5_accuracy", **columns)
    error = calibration_error(found.confidence.flatten(), found.top1.flatten())
    run.row("calibration_error", error, **columns)
    run.row("cross_entropy", float(shown.cross_entropy.mean()), **columns)
    if config.method.entry.kind is not Kind.MEAN:
        _compare(config, run, scorer, features, shown)


def _measure_step(
    config: ClipConfig, run: Run, scorer: Scorer, features: Orbits, step: int
) -> None:
    """Write the accuracy after a step of fine-tuning."""
    images = _images(config, features, config.group.name)
    with as_evaluated(config, scorer):
        shown = _average(config, outcomes(scorer, images))
    columns = {"split": "test", "transform": config.task.transform, "step": step}
    estimate(shown.top1).write(run, "top1_accuracy", **columns)


def _images(config: ClipConfig, features: Orbits, group: str) -> Stored:
    """Return the test images, as preprocessed for the model."""
    return Stored(features, group, config.task.transform)


def _average(config: ClipConfig, found: Outcomes) -> Outcomes:
    """Return each image's mean over all transforms, or its value in the drawn transform."""
    task = config.task
    if task.draw == "every":
        return Outcomes(*(values.mean(dim=0) for values in found))
    turns, count = found.top1.shape
    return found.at(drawn(task.draw, task.draw_batch, turns, count, config.seed))


def _compare(
    config: ClipConfig, run: Run, scorer: Scorer, features: Orbits, shown: Outcomes
) -> None:
    """Write what the method gains over equitune, image by image: overall and per class."""
    # Pretrained has no group of its own: it is compared with the mean over its transforms.
    group = config.group.name if config.group.name != "trivial" else config.task.transform
    if group == "none":
        return
    even = Scorer(equitune.Uniform(), scorer.classifier, scorer.scale, scorer.space).eval()
    images = _images(config, features, group)
    difference = shown.top1 - _average(config, outcomes(even, images)).top1
    columns = {"split": "test", "transform": config.task.transform}
    estimate(difference).write(run, "over_equitune", **columns)
    for number in images.labels.unique().tolist():  # type: ignore[no-untyped-call]
        chosen = difference[images.labels == number]
        run.row("class_over_equitune", 100 * float(chosen.mean()), **columns, view=str(number))


def _write_shares(config: ClipConfig, run: Run, scorer: Scorer, upright: Stored) -> None:
    """Write lambda's shares of the views: of upright images, and of the image in Figure 12.

    If lambda is a weight, it is positive, and its shares are the weights of the mean (Eq. 4). If it
    is a temperature, it can have any sign: the shares are those of its absolute values, which say
    how sharp each view's probabilities are; the record says how often lambda is negative.
    """
    net = scorer.net
    assert net is not None

    def weights(views: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = net(scorer.split(views)[1])
        return found.T

    scorer.eval()
    found = over_turns(upright, weights)[0].double()
    if config.task.lambda_as == "temperature":
        run.fact("lambda_negative_percent", 100 * float((found < 0).double().mean()))
        found = found.abs()
    shares = found / found.sum(dim=1, keepdim=True)
    columns = {"split": "test", "transform": config.task.transform}
    # Row of the image in `sample`, which has its own order unless images are limited.
    shown = int(shuffled(len(shares))[0]) if config.task.max_images is None else 0
    for place, element in enumerate(members(config.group.name)):
        one = 100 * float(shares[shown, place])
        run.row("lambda_share_shown", one, **columns, view=str(element))
        estimate(shares[:, place]).write(run, "lambda_share", **columns, view=str(element))
    highest = (found.argmax(dim=1) == 0).double()
    estimate(highest).write(run, "lambda_highest_upright", **columns)
    run.save_bytes(SHOWN, encode_png(upright.sample[0].numpy()))


class _Whole(nn.Module):
    """From images to log-probabilities: every view runs through the encoder."""

    def __init__(
        self, after: nn.Module, before: nn.Module, action: equitune.Action, scorer: Scorer
    ) -> None:
        super().__init__()
        self.after, self.before, self.action, self.scorer = after, before, action, scorer

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities, [B, K]."""
        orbit = self.action.orbit(x)
        views = orbit.flatten(0, 1)
        # Lambda reads the pretrained encoder; without fine-tuning both encoders are the same.
        both = self.after is not self.before and self.scorer.net is not None
        encoders = [self.after, self.before] if both else [self.after]
        embeddings = torch.cat([encoder(views) for encoder in encoders], dim=-1)
        scores: Tensor = self.scorer(embeddings.reshape(*orbit.shape[:2], -1))
        return scores


def _check_whole(config: ClipConfig, run: Run, whole: _Whole, sample: Tensor) -> None:
    """Write the whole network's equivariance error, and its passes of encoders per image.

    It reads no stored embeddings. Dropout is off, because it breaks equivariance.
    """
    inputs = _inputs(config, sample)
    error = equivariance_error(run, whole.eval(), inputs, _turned(config))
    columns = {"split": "test", "transform": config.task.transform}
    run.row("equivariance_error", error, **columns)
    with torch.inference_mode():
        passes = rows_read([whole.after, whole.before], lambda: whole(inputs[:1]))
    run.row("passes", passes, **columns)
