"""Description of the CLIP task for the frame: its configuration, its stages, their identities."""

from __future__ import annotations

from functools import partial

from experiments.clip.fingerprint import (
    VERSIONS,
    evaluate_identity,
    features_identity,
    finetune_identity,
    lambda_identity,
    pretrain_identity,
    pretrain_label,
    text_identity,
    timing_identity,
)
from experiments.clip.options import ClipModel, ClipTask
from experiments.clip.validate import resolve
from experiments.frame.options import GroupConfig
from experiments.frame.stages import Stage, Task
from experiments.images.arrays import SPLITS
from experiments.images.config import evaluation_stages, features_label, method_label
from experiments.images.options import ImageDataset

_SHARED = ("method", "group", "protocol", "scale", "variant")
_STAGES = (
    Stage(
        "pretrain",
        VERSIONS["pretrain"],
        pretrain_identity,
        pretrain_label,
        "experiments.clip.pretrain:pretrain",
        blank=("dataset", *_SHARED),
    ),
    Stage(
        "text",
        VERSIONS["text"],
        text_identity,
        features_label,
        "experiments.clip.embeddings:text",
        blank=_SHARED,
    ),
    *(
        Stage(
            f"features_{split}",
            VERSIONS["features"],
            partial(features_identity, split=split),
            features_label,
            f"experiments.clip.embeddings:{split}",
            blank=_SHARED,
        )
        for split in SPLITS
    ),
    Stage(
        "lambda",
        VERSIONS["lambda"],
        lambda_identity,
        method_label,
        "experiments.clip.train_lambda:train",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "finetune",
        VERSIONS["finetune"],
        finetune_identity,
        method_label,
        "experiments.clip.finetune:finetune",
        blank=("protocol", "scale", "variant"),
    ),
    Stage(
        "timing",
        VERSIONS["timing"],
        timing_identity,
        features_label,
        "experiments.clip.timing:timing",
    ),
    *evaluation_stages("clip", VERSIONS, evaluate_identity),
)

TASK = Task(
    refuses={"needs_stem": "CLIP's encoders are not cut"},
    name="clip",
    sections={"task": ClipTask, "model": ClipModel, "dataset": ImageDataset, "group": GroupConfig},
    stages={stage.name: stage for stage in _STAGES},
    resolve=resolve,
    downloader="experiments.clip.models:downloads",
)
