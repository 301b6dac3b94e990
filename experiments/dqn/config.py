"""What the frame knows of DQN: its configuration, its stages, their identities."""

from __future__ import annotations

from experiments.dqn.checks import resolve
from experiments.dqn.identity import (
    evaluate_identity,
    evaluate_label,
    pretrain_identity,
    pretrain_label,
)
from experiments.dqn.sections import DqnDataset, DqnGroup, DqnModel, DqnTask
from experiments.stages import Stage, Task

TASK = Task(
    name="dqn",
    sections={"task": DqnTask, "model": DqnModel, "dataset": DqnDataset, "group": DqnGroup},
    stages={
        stage.name: stage
        for stage in (
            Stage(
                "pretrain",
                1,
                pretrain_identity,
                pretrain_label,
                "experiments.dqn.pretrain:pretrain",
                blank=("method", "group", "protocol", "scale"),
            ),
            Stage(
                "evaluate",
                1,
                evaluate_identity,
                evaluate_label,
                "experiments.dqn.evaluate:evaluate",
            ),
        )
    },
    resolve=resolve,
)
