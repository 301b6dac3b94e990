"""What the frame knows of the CNN task: its configuration, its stages, their identities."""

from __future__ import annotations

from functools import partial

from experiments.cnn.checks import resolve
from experiments.cnn.identity import (
    VERSIONS,
    evaluate_identity,
    features_identity,
    pretrain_identity,
    pretrain_label,
    probe_identity,
)
from experiments.cnn.sections import CnnModel, CnnTask
from experiments.images.arrays import SPLITS
from experiments.images.labels import features_label, method_label
from experiments.images.sections import ImageDataset
from experiments.schema import GroupConfig
from experiments.stages import Stage, Task

_STAGES = (
    Stage(
        "pretrain",
        VERSIONS["pretrain"],
        pretrain_identity,
        pretrain_label,
        "experiments.cnn.pretrain:pretrain",
        blank=("dataset", "method", "group", "protocol", "scale", "variant"),
    ),
    *(
        Stage(
            f"features_{split}",
            VERSIONS["features"],
            partial(features_identity, split=split),
            features_label,
            f"experiments.cnn.features:{split}",
            blank=("method", "group", "protocol", "scale", "seed", "variant"),
        )
        for split in SPLITS
    ),
    Stage(
        "probe",
        VERSIONS["probe"],
        probe_identity,
        method_label,
        "experiments.cnn.probe:probe",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "evaluate",
        VERSIONS["evaluate"],
        evaluate_identity,
        method_label,
        "experiments.cnn.evaluate:evaluate",
    ),
)

TASK = Task(
    name="cnn",
    sections={"task": CnnTask, "model": CnnModel, "dataset": ImageDataset, "group": GroupConfig},
    stages={stage.name: stage for stage in _STAGES},
    resolve=resolve,
    fetcher="experiments.cnn.weights:prefetch",
)
