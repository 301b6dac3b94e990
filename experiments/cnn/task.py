"""Description of the CNN task for the frame: its configuration, its stages, their identities."""

from __future__ import annotations

from functools import partial

from experiments.cnn.fingerprint import (
    VERSIONS,
    evaluate_identity,
    features_identity,
    lambda_identity,
    pretrain_identity,
    pretrain_label,
    probe_identity,
    probe_label,
    stem_identity,
    stem_label,
)
from experiments.cnn.options import CnnModel, CnnTask
from experiments.cnn.validate import resolve
from experiments.frame.options import GroupConfig
from experiments.frame.stages import Stage, Task
from experiments.images.arrays import SPLITS
from experiments.images.config import evaluation_stages, features_label, method_label
from experiments.images.options import ImageDataset

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
            f"{kind}_{split}",
            VERSIONS[kind],
            partial(identity, split=split),
            label,
            f"experiments.cnn.features:{kind}_{split}",
            blank=("method", "group", "protocol", "scale", "seed", "variant"),
        )
        for kind, identity, label in (
            ("features", features_identity, features_label),
            ("stem", stem_identity, stem_label),
        )
        for split in SPLITS
    ),
    Stage(
        "probe",
        VERSIONS["probe"],
        probe_identity,
        probe_label,
        "experiments.cnn.probe:probe",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "lambda",
        VERSIONS["lambda"],
        lambda_identity,
        method_label,
        "experiments.cnn.train_lambda:train",
        blank=("protocol", "scale", "variant"),
    ),
    *evaluation_stages("cnn", VERSIONS, evaluate_identity),
)

TASK = Task(
    name="cnn",
    sections={"task": CnnTask, "model": CnnModel, "dataset": ImageDataset, "group": GroupConfig},
    stages={stage.name: stage for stage in _STAGES},
    resolve=resolve,
    downloader="experiments.cnn.checkpoints:downloads",
)
