"""Completes and validates the configuration of the CNN task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.cnn.fingerprint import is_fitted, is_live, learns_jointly, probed, stores_stem
from experiments.external.published import settle, unpin
from experiments.frame.errors import UserError
from experiments.frame.fields import check_values, given
from experiments.frame.tasks import load_task
from experiments.images.config import check_group, check_relus, is_ours, pretraining_data

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig, CnnModel


def resolve(config: CnnConfig) -> None:
    """Complete and validate the configuration, before anything is loaded.

    Options that the run does not read become None.

    Raises:
        UserError: For a missing data set, means or deviations that are not three numbers, a
            selection without held-out images, and lambda with a single view.
    """
    task, model = config.task, config.model
    _settle_weights(model)
    if config.scale.name == "paper" and config.dataset.kind == "pictograms":
        raise UserError(
            f"scale=paper is for real images, dataset={config.dataset.name} is drawn; add "
            "dataset=cifar10, or choose scale=demo"
        )
    for name in ("mean", "std"):
        values = getattr(model, name)
        if len(values) != 3 or (name == "std" and min(values) <= 0):
            raise UserError(f"model.{name}={values} must be three numbers, above 0 for std")
    if is_ours(config):
        if task.pretrain is None or task.pretrain_seed is None:
            raise UserError("model.weights=ours needs task.pretrain and task.pretrain_seed")
        check_values(pretraining_data(config), "task.pretrain.dataset.")
    elif config.stage == "pretrain":
        raise UserError(
            f"stage=pretrain trains a network, but model.weights={model.weights} are to be loaded; "
            "choose model.weights=ours"
        )
    _check_method(config)
    _check_training(config)
    if not is_ours(config):
        task.pretrain = task.pretrain_seed = None


def _settle_weights(model: CnnModel) -> None:
    """Find out which file the weights come from."""
    unpin(model)
    given = model.local is not None or model.checkpoint is not None
    if model.weights == "ours":
        settle(model, "", ())
    elif given or model.revision is not None:
        from experiments.cnn.checkpoints import find_source, known_digests

        found = find_source(model.architecture)
        if model.revision is not None and (found is None or found.repository is None):
            raise UserError(
                f"model.revision={model.revision}: the hub has no weights of {model.architecture}; "
                "leave it out"
            )
        what = f"the ImageNet weights of {model.architecture}" if found else ""
        settle(model, what, known_digests(model))


def _check_method(config: CnnConfig) -> None:
    method = config.method.entry
    check_group(config)
    if config.stage.startswith("stem_") and not stores_stem(config):
        raise UserError(
            f"stage={config.stage} stores what a part of the network computes, which this method "
            "does not read; choose method=early_exit with method.stem above 0"
        )
    if not method.needs_net:
        return
    net = config.method.lambda_net
    assert net is not None
    check_relus(config)
    _check_stem(config)
    if is_fitted(config):
        net.budget()
        config.task.lambda_training = None
    elif net.steps is not None or net.batch_size is not None:
        raise UserError(
            "method.lambda_net.steps and batch_size are not read: lambda is trained in the batches "
            "and epochs of task.probe"
        )


def _check_stem(config: CnnConfig) -> None:
    """Refuse a network that cannot be cut."""
    if stores_stem(config) and not config.model.architecture.startswith("cifar:"):
        raise UserError(
            f"method={config.method.name} cuts the networks cifar:NAME, as model=ResNet20 and "
            f"SmallAlexNet, not model.architecture={config.model.architecture}; choose one of "
            "these, or method.stem=0, which cuts none"
        )


def _check_training(config: CnnConfig) -> None:
    task, method = config.task, config.method.entry
    if task.over_equitune and (
        task.training != "probe" or task.selection == "evaluation" or is_live(config)
    ):
        raise UserError(
            "task.over_equitune=true compares last layers on stored features, chosen before: needs "
            "task.training=probe, task.batch_norm=frozen, task.selection=validation or last"
        )
    if config.stage == "lambda" and not is_fitted(config):
        raise load_task("cnn").no_lambda(method)
    if config.stage == "continuity" and task.batch_norm == "train":
        raise UserError(
            "stage=continuity changes single images, with task.batch_norm=train a prediction "
            "depends on the others; choose task.batch_norm=frozen"
        )
    if config.stage == "probe" and probed(config) is not config:
        raise UserError(
            f"method={method.name} reads the last layers of method={probed(config).method.name}; "
            "choose that for stage=probe"
        )
    if is_fitted(config):
        _check_fit(config)
    if task.training == "none":
        _check_zero_shot(config)
        return
    task.held_out = None
    if task.probe is None:
        raise UserError(f"task.training={task.training} needs task.probe")
    if task.selection is None:
        raise UserError("task.selection is empty; choose from: validation, evaluation, last")
    if task.selection == "validation" and task.probe.validation == 0:
        raise UserError(
            "task.selection=validation needs held-out images: task.probe.validation above 0, or "
            "task.selection=last"
        )
    if method.needs_loss and task.straight_through is None:
        raise UserError("task.straight_through is empty; choose from: mean, identity")
    if learns_jointly(config) and task.lambda_training is None:
        raise UserError("task.lambda_training is empty; choose from: joint, separate")
    if is_live(config) and config.device not in ("auto", "cpu"):
        raise UserError(
            f"task.training={task.training} task.batch_norm={task.batch_norm} runs on the CPU, not "
            f"on device={config.device}; choose device=cpu"
        )


def _check_fit(config: CnnConfig) -> None:
    """Check what a weighting is fitted to: stored features of images that are held out."""
    task, method = config.task, config.method
    if is_live(config):
        raise UserError(
            f"method={method.name} is fitted to stored features, which task.training=all and "
            "task.batch_norm=train change; choose task.training=none or probe"
        )
    if task.selection == "evaluation":
        raise UserError(
            f"method={method.name} is fitted before task.selection=evaluation can choose an epoch; "
            "choose task.selection=validation or last"
        )
    share = task.held_out if task.training == "none" else given(task.probe).validation
    if not share:
        key = "task.held_out" if task.training == "none" else "task.probe.validation"
        raise UserError(f"method={method.name} needs held-out images: {key} above 0")


def _check_zero_shot(config: CnnConfig) -> None:
    task, method = config.task, config.method.entry
    if config.stage == "probe":
        raise UserError("stage=probe learns the last layers, task.training=none does not")
    if method.augments:
        raise UserError(
            f"method={method.name} trains on transformed images, task.training=none does not; "
            "choose task.training=probe or all"
        )
    if task.batch_norm == "train":
        raise UserError("task.training=none has no batches: choose task.batch_norm=frozen")
    trained_on = given(task.pretrain).dataset if is_ours(config) else config.dataset.name
    if trained_on != config.dataset.name:
        raise UserError(
            f"task.training=none evaluates the network on the classes that it was trained on: "
            f"choose dataset={trained_on} or task.pretrain.dataset={config.dataset.name}"
        )
    task.probe = task.straight_through = task.selection = None
