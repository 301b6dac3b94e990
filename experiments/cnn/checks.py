"""Completing the configuration of the CNN task and refusing what makes no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.cnn.identity import source
from experiments.errors import UserError
from experiments.schema import GroupConfig, check_values

if TYPE_CHECKING:
    from experiments.schema import RunConfig


def resolve(config: RunConfig) -> None:
    """Complete the configuration and refuse what makes no sense, before anything is loaded.

    Options that the run does not read become None.

    Raises:
        UserError: For a data set that there is not, numbers per channel that are not three, a
            selection without held-out images, and weights with nothing to weigh.
    """
    task, method, model = config.task, config.method.name, config.model
    if config.scale.name == "paper" and config.dataset.kind == "pictograms":
        raise UserError(
            f"scale=paper is for real images, dataset={config.dataset.name} is drawn; add "
            "dataset=cifar10, or choose scale=demo"
        )
    for name in ("mean", "std"):
        values = getattr(model, name)
        if len(values) != 3 or (name == "std" and min(values) <= 0):
            raise UserError(f"model.{name}={values} must be three numbers, above 0 for std")
    check_values(source(config), "task.pretrain.dataset.")
    if method == "pretrained":
        config.group = GroupConfig(name="trivial")
    elif config.group.name == "trivial" and method == "lambda_equitune":
        raise UserError(
            f"method={method} has one view to weigh in group=trivial; choose method=pretrained"
        )
    if method != "equizero":
        task.loss = task.straight_through = None
    elif task.loss is None:
        raise UserError("method=equizero needs task.loss")
    if method != "lambda_equitune":
        task.lambda_training = None
    _check_training(config)


def _check_training(config: RunConfig) -> None:
    task, method = config.task, config.method.name
    if task.training == "none":
        if method == "lambda_equitune":
            raise UserError(
                f"method={method} has lambda to learn; choose task.training=probe or another method"
            )
        if task.batch_norm == "train":
            raise UserError("task.training=none has no batches: choose task.batch_norm=frozen")
        task.probe = task.straight_through = task.selection = None
        return
    if task.probe is None:
        raise UserError(f"task.training={task.training} needs task.probe")
    if task.selection == "validation" and task.probe.validation == 0:
        raise UserError(
            "task.selection=validation needs held-out images: task.probe.validation above 0, or "
            "task.selection=last"
        )
