"""Stages ``evaluate``, accuracy on turned images (Figures 5b and 11b), and ``continuity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

import equitune
from experiments.cnn.backbones import preprocessing
from experiments.cnn.features import make_cut
from experiments.cnn.fingerprint import is_fitted, probed
from experiments.cnn.heads import Features, OwnHead, Probe, make_rule
from experiments.cnn.orbit_sources import Live, Weighable, correctness, make_source, weighable
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.probe import HEADS, build_probe, chosen_epoch, epochs, load_state, plan
from experiments.cnn.stems import EarlyExit
from experiments.cnn.train_lambda import frozen_head, load_fitted
from experiments.costs import parameters
from experiments.estimates import estimate
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.methods import EQUITUNE, Kind
from experiments.frame.progress import progress
from experiments.images.config import of_method
from experiments.images.continuity import largest_jump
from experiments.images.equivariance import checked, equivariance_error, multiply_adds
from experiments.images.orbit_data import Stored, TurnedImages
from experiments.images.symmetries import make_action, members

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run
    from experiments.images.arrays import Split


def evaluate(config: CnnConfig, run: Run) -> None:
    """Measure a method on every turn of the images.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If the pretrained network's classes are not those of the data set.
    """
    split = cast("Split", config.task.evaluate_on)
    source = make_source(config, run, split)
    backbone = _backbone(config, run, source)
    if config.task.training == "none":
        probe = _zero_shot(config, run, backbone, source, split)
    elif _learns_alone(config):
        probe = _weighed(config, run, source, split)
    else:
        probe = _probed(config, run, source, split)
    if config.task.over_equitune:
        assert isinstance(source, Stored)
        head = frozen_head(of_method(config, EQUITUNE), run, source)
        correct = _correct(weighable(config, run, split, source, probe.head), probe.rule)
        _compare(config, run, head, source, correct, split)
    if config.task.batch_norm == "frozen":
        _check_whole(config, run, backbone, probe, source)
    spent, trained = run.spent_on("probe", "lambda"), _trained(config, backbone, probe)
    run.row("training_seconds", spent, split=split)
    run.row("trained_parameters", trained, split=split)
    run.fact("device", "cpu")


def measure_jump(config: CnnConfig, run: Run) -> None:
    """Measure the largest jump of the evaluated network (stage ``continuity``).

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    evaluated = run.need("evaluate")
    split = cast("Split", config.task.evaluate_on)
    source = make_source(config, run, split)
    if config.task.training == "none" or _learns_alone(config):
        head = frozen_head(config, run, source)
        probe = _combined(config, run, weighable(config, run, split, source, head), head)
    else:
        probe = build_probe(plan(config), source.shape, config.dataset.classes, config.seed)
        rows = {row["metric"]: row["value"] for row in evaluated.rows()}
        tensors, _ = run.need("probe").tensors(HEADS)
        load_state(probe, source, tensors, int(float(rows["selected_epoch"])))
    whole = whole_network(config, _backbone(config, run, source), probe)
    action, inputs = make_action(_turned(config)), _inputs(config, source)
    run.row("jump", largest_jump(run, whole, inputs, action, config.seed), split=split)
    run.fact("device", "cpu")


def _trained(config: CnnConfig, backbone: Backbone, probe: Probe) -> int:
    """Return how many numbers were trained, the pretraining not counted."""
    training, rule = config.task.training, probe.rule
    chosen_by = getattr(rule, "loss_fn", None)
    modules = (
        rule,
        chosen_by if isinstance(chosen_by, nn.Module) else None,
        probe.head if training != "none" else None,
        backbone if training == "all" else None,
    )
    return parameters(*modules) + config.method.fits_temperature


def _backbone(config: CnnConfig, run: Run, source: TurnedImages) -> Backbone:
    return source.backbone if isinstance(source, Live) else pretrained_backbone(config, run)


def _learns_alone(config: CnnConfig) -> bool:
    """Whether another run than that of the method has trained the last layers."""
    return is_fitted(config) or probed(config) is not config


def _combined(config: CnnConfig, run: Run, read: Weighable, head: nn.Module) -> Probe:
    """Return frozen last layers with what the method has learned to combine their outputs by."""
    group, fitted = make_action(config.group.name).group, load_fitted(config, run, read.images)
    rule = make_rule(config.method.name, group, config.task.loss, fitted=fitted)
    return Probe(head, rule)


def _correct(read: Weighable, rule: equitune.Weighting) -> Tensor:
    """Return whether each image is classified correctly, in every turn, as a number."""
    return correctness(Probe(read.head, rule), read.images).double()


def _zero_shot(
    config: CnnConfig, run: Run, backbone: Backbone, source: TurnedImages, split: Split
) -> Probe:
    """Measure the pretrained network, and its gain over equitune."""
    assert isinstance(source, Stored)
    classes = backbone.classify(source.features.values[0, :1]).shape[-1]
    if classes != config.dataset.classes:
        raise UserError(
            f"task.training=none needs a network of the {config.dataset.classes} classes of "
            f"dataset={config.dataset.name}, model={config.model.name} has {classes}; choose "
            "a data set of these or task.training=probe"
        )
    head = OwnHead(backbone)
    read = weighable(config, run, split, source, head)
    probe = _combined(config, run, read, head)
    correct = _correct(read, probe.rule)
    _write_turns(run, config.task.transform, correct, split)
    if config.method.entry.kind is not Kind.MEAN:
        _compare(config, run, probe.head, source, correct, split)
    return probe


def _weighed(config: CnnConfig, run: Run, source: TurnedImages, split: Split) -> Probe:
    """Measure a weighting of last layers that another run has trained."""
    head = frozen_head(config, run, source)
    read = weighable(config, run, split, source, head)
    probe = _combined(config, run, read, head)
    found = estimate(_correct(read, probe.rule).mean(dim=0))
    found.write(run, "top1_accuracy", split=split, transform=config.task.transform)
    return probe


def _compare(
    config: CnnConfig, run: Run, head: nn.Module, source: Stored, correct: Tensor, split: str
) -> None:
    """Write the gain over the mean of given last layers, image by image.

    Pretrained has no group: it is compared with the mean over the stored orbit.
    """
    transform = config.task.transform
    wide = config.group.name if config.group.name != "trivial" else source.features.views
    even = Probe(head, equitune.Uniform())
    other = correctness(even, Stored(source.features, wide, transform)).double()
    difference = estimate(correct.mean(dim=0) - other.mean(dim=0))
    difference.write(run, "over_equitune", split=split, transform=transform)


def _write_turns(run: Run, transform: str, correct: Tensor, split: str) -> None:
    """Write the accuracy of every turn, and their mean."""
    estimate(correct[0]).write(run, "top1_accuracy", split=split, transform="none")
    if len(correct) == 1:
        return
    for turn, values in zip(members(transform), correct, strict=True):
        columns = {"split": split, "transform": transform, "view": str(turn)}
        estimate(values).write(run, "top1_accuracy", **columns)
    every = estimate(correct.mean(dim=0))
    every.write(run, "top1_accuracy", split=split, transform=transform)


def _probed(config: CnnConfig, run: Run, source: TurnedImages, split: str) -> Probe:
    """Measure the trained layers of every epoch, and record which epoch is reported."""
    asked, total = plan(config), epochs(config)
    finished = run.need("probe")
    run.fact("images_learned", finished.record["facts"]["images"])
    tensors, _ = finished.tensors(HEADS)
    probe = build_probe(asked, source.shape, config.dataset.classes, config.seed)
    accuracies, estimates = {}, {}
    with progress(f"epochs of {run.folder.name}", total) as bar:
        for epoch in range(1, total + 1):
            if run.should_checkpoint:
                raise Interrupted(f"stopped on request; {run.folder.name} begins again")
            load_state(probe, source, tensors, epoch)
            estimates[epoch] = estimate(correctness(probe, source).double().mean(dim=0))
            accuracies[epoch] = estimates[epoch].mean
            columns = {"split": split, "transform": asked.transform, "step": epoch}
            run.row("top1_accuracy", accuracies[epoch], **columns)
            bar.update(epoch)
    if config.task.selection == "evaluation":
        chosen = max(accuracies, key=lambda epoch: accuracies[epoch])
    else:
        chosen = chosen_epoch(config, finished.rows())
    estimates[chosen].write(run, "top1_accuracy", split=split, transform=asked.transform)
    run.row("selected_epoch", chosen, split=split, transform=asked.transform)
    load_state(probe, source, tensors, chosen)
    return probe


def whole_network(config: CnnConfig, backbone: Backbone, probe: Probe) -> nn.Module:
    """Return the network from images to logits, which reads nothing that is stored."""
    action = make_action(config.group.name)
    if config.method.entry.needs_stem:
        cut = make_cut(config, backbone)
        return EarlyExit(cut, action, probe.rule, probe.head).eval()
    features, invariant = Features(backbone), equitune.Invariant(action.group)
    return equitune.Equivariant(features, action, invariant, probe.rule, head=probe.head).eval()


def _check_whole(
    config: CnnConfig, run: Run, backbone: Backbone, probe: Probe, source: TurnedImages
) -> None:
    """Write the whole network's equivariance error, and its passes per image.

    Passes are its multiply-adds as a multiple of those of the network alone: a number of views,
    but for what a weighting computes besides, or a part of the network that sees fewer views.
    """
    whole = whole_network(config, backbone, probe)
    inputs, split = _inputs(config, source), config.task.evaluate_on
    error = equivariance_error(run, whole, inputs, _turned(config))
    run.row("equivariance_error", error, split=split)
    plain = nn.Sequential(Features(backbone), probe.head)
    passes = multiply_adds(whole, inputs[:1]) / multiply_adds(plain, inputs[:1])
    run.row("passes", passes, split=split)
    if isinstance(whole, EarlyExit):
        run.row("stem_share", whole.cut.share, split=split)


def _turned(config: CnnConfig) -> str:
    """Return the group whose elements move the images of a check."""
    return "rot90" if config.group.name == "trivial" else config.group.name


def _inputs(config: CnnConfig, source: TurnedImages) -> Tensor:
    """Return the images of a check, preprocessed."""
    return preprocessing(config.model)(checked(source.sample, config.task.max_images))
