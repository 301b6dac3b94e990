"""Description of DQN for the frame: its configuration, its stages, their identities."""

from __future__ import annotations

from experiments.dqn.fingerprint import (
    VERSIONS,
    evaluate_identity,
    evaluate_label,
    lambda_identity,
    pretrain_identity,
    pretrain_label,
)
from experiments.dqn.options import DqnDataset, DqnGroup, DqnModel, DqnTask
from experiments.dqn.validate import resolve
from experiments.frame.stages import Number, Stage, Task

TASK = Task(
    refuses={
        "needs_pose": "no state is upright: it and its mirror image are equally usual",
        "needs_reference": "a state and its mirror image are equally usual in training",
    },
    name="dqn",
    sections={"task": DqnTask, "model": DqnModel, "dataset": DqnDataset, "group": DqnGroup},
    stages={
        stage.name: stage
        for stage in (
            Stage(
                "pretrain",
                VERSIONS["pretrain"],
                pretrain_identity,
                pretrain_label,
                "experiments.dqn.pretrain:pretrain",
                blank=("method", "group", "protocol", "scale"),
            ),
            Stage(
                "lambda",
                VERSIONS["lambda"],
                lambda_identity,
                evaluate_label,
                "experiments.dqn.train_lambda:weigh",
                blank=("protocol", "scale", "variant"),
            ),
            Stage(
                "evaluate",
                VERSIONS["evaluate"],
                evaluate_identity,
                evaluate_label,
                "experiments.dqn.evaluate:evaluate",
                shows=(
                    Number("expected_return", "expected return", digits=".4g"),
                    Number("return", "mean return", digits=".4g"),
                ),
            ),
        )
    },
    resolve=resolve,
)
