"""Description of SCAN for the frame: its configuration, its stages, their identities."""

from __future__ import annotations

from experiments.frame.methods import Kind
from experiments.frame.stages import Number, Stage, Task
from experiments.scan.fingerprint import (
    VERSIONS,
    evaluate_identity,
    evaluate_label,
    finetune_identity,
    lambda_identity,
    pretrain_identity,
    pretrain_label,
)
from experiments.scan.options import ScanDataset, ScanGroup, ScanModel, ScanTask
from experiments.scan.validate import resolve

_TEST = {"split": "test"}
_MODEL_ONLY = ("protocol", "scale", "variant")

TASK = Task(
    serves=frozenset(Kind) - {Kind.OTHER},
    refuses={
        "needs_reference": "no distance of a sequence's features is defined here",
        "needs_stem": "a sequence's network is not cut",
    },
    name="scan",
    sections={"task": ScanTask, "model": ScanModel, "dataset": ScanDataset, "group": ScanGroup},
    stages={
        stage.name: stage
        for stage in (
            Stage(
                "pretrain",
                VERSIONS["pretrain"],
                pretrain_identity,
                pretrain_label,
                "experiments.scan.pretrain:pretrain",
                blank=("method", "group", *_MODEL_ONLY),
            ),
            Stage(
                "lambda",
                VERSIONS["lambda"],
                lambda_identity,
                evaluate_label,
                "experiments.scan.train_lambda:weigh",
                blank=_MODEL_ONLY,
            ),
            Stage(
                "finetune",
                VERSIONS["finetune"],
                finetune_identity,
                evaluate_label,
                "experiments.scan.finetune:finetune",
                blank=_MODEL_ONLY,
            ),
            Stage(
                "evaluate",
                VERSIONS["evaluate"],
                evaluate_identity,
                evaluate_label,
                "experiments.scan.evaluate:evaluate",
                shows=(Number("accuracy", "accuracy on test commands", " %", where=_TEST),),
            ),
        )
    },
    resolve=resolve,
)
