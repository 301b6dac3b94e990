"""Description of the fairness task for the frame: its configuration, stages, identities."""

from __future__ import annotations

from experiments.fairness.fingerprint import (
    VERSIONS,
    evaluate_identity,
    generate_identity,
    label,
    lambda_identity,
    pretrain_identity,
    pretrain_label,
    regard_identity,
    regard_label,
)
from experiments.fairness.options import (
    FairnessDataset,
    FairnessGroup,
    FairnessModel,
    FairnessTask,
)
from experiments.fairness.validate import resolve
from experiments.frame.methods import Kind
from experiments.frame.stages import Number, Stage, Task

_STAGES = (
    Stage(
        "pretrain",
        VERSIONS["pretrain"],
        pretrain_identity,
        pretrain_label,
        "experiments.fairness.synthetic_lm:pretrain",
        blank=("dataset", "group", "method", "protocol", "scale", "variant"),
    ),
    Stage(
        "regard",
        VERSIONS["regard"],
        regard_identity,
        regard_label,
        "experiments.fairness.judge_quality:regard",
        blank=("dataset", "model", "method", "protocol", "seed", "variant"),
    ),
    Stage(
        "lambda",
        VERSIONS["lambda"],
        lambda_identity,
        label,
        "experiments.fairness.train_lambda:train",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "generate",
        VERSIONS["generate"],
        generate_identity,
        label,
        "experiments.fairness.generate:generate",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "evaluate",
        VERSIONS["evaluate"],
        evaluate_identity,
        label,
        "experiments.fairness.evaluate:evaluate",
        # Rows of the first judge come first.
        shows=(
            Number(
                "regard_gap",
                "gap in regard",
                " points",
                digits="+.1f",
                told=("view", "split"),
                place=0,
            ),
        ),
    ),
)

TASK = Task(
    serves=frozenset(Kind) - {Kind.OTHER},
    refuses={
        "augments": "the language model is not trained here",
        "needs_temperature": "its temperature is fitted to labels, and sentences have none",
        "needs_reference": "no distance of a sentence's features is defined here",
        "needs_stem": "a language model is not cut",
        "needs_pose": "no group of people is upright",
    },
    name="fairness",
    sections={
        "task": FairnessTask,
        "model": FairnessModel,
        "dataset": FairnessDataset,
        "group": FairnessGroup,
    },
    stages={stage.name: stage for stage in _STAGES},
    resolve=resolve,
    downloader="experiments.fairness.sources:downloads",
)
