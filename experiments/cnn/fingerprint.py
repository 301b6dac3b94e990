"""Fingerprints of the CNN stages: the options that decide their numbers; part of run names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from experiments.cnn.options import is_own
from experiments.frame.fields import given
from experiments.frame.files import file_digest
from experiments.frame.methods import EQUITUNE
from experiments.frame.modules import source_digests
from experiments.frame.stages import built_on
from experiments.frame.variant import deciding, variant
from experiments.images.arrays import Split
from experiments.images.config import (
    features_label,
    features_of,
    is_ours,
    method_label,
    of_method,
    pretraining_data,
    trained_as,
)
from experiments.images.sets import fingerprint
from experiments.images.symmetries import smallest

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig

#: The result version of every stage: raised whenever a change of code alters its numbers.
VERSIONS = {
    "pretrain": 1,
    "features": 3,
    "stem": 1,
    "probe": 2,
    "lambda": 1,
    "evaluate": 3,
    "continuity": 1,
}


def weights_identity(config: CnnConfig) -> dict[str, Any]:
    """Return the options that decide the backbone's weights."""
    model = config.model
    if model.checkpoint is not None:
        given = file_digest(Path(model.checkpoint))
        return _architecture(config) | {"checkpoint": given}
    if not is_ours(config):
        from experiments.cnn.checkpoints import imagenet_identity

        return _architecture(config) | imagenet_identity(model)
    return {"pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config))}


def pretrain_identity(config: CnnConfig) -> dict[str, Any]:
    """Return the options that decide a backbone that the suite trains."""
    return {
        "data": fingerprint(pretraining_data(config)),
        "seed": config.task.pretrain_seed,
        "recipe": deciding(config.task.pretrain),
        **_seen(config),
        **_architecture(config),
    }


def _architecture(config: CnnConfig) -> dict[str, Any]:
    """Return the architecture's identity: its name, and the source code of a user's network."""
    name = config.model.architecture
    return {
        "architecture": name,
        **({"source": source_digests(name)} if is_own(name) else {}),
    }


def _seen(config: CnnConfig) -> dict[str, Any]:
    model = config.model
    return {"size": model.size, "mean": list(model.mean), "std": list(model.std)}


def features_identity(config: CnnConfig, split: Split) -> dict[str, Any]:
    """Return the options that decide the features of a split."""
    return features_of(config, split, weights_identity(config), _seen(config), views(config))


def stem_identity(config: CnnConfig, split: Split) -> dict[str, Any]:
    """Return the options that decide what the choice of an early exit reads of a split."""
    return {**features_identity(config, split), "stem": config.method.stem}


def stores_stem(config: CnnConfig) -> bool:
    """Whether the method reads what stage=stem_train and stem_test store."""
    return bool(config.method.stem)


def _stem(config: CnnConfig, split: Split) -> dict[str, Any]:
    """Return what is read of the stem, as a part of an identity; empty for other methods."""
    if not stores_stem(config):
        return {}
    return {"stem": built_on(VERSIONS["stem"], stem_identity(config, split))}


def views(config: CnnConfig) -> str:
    """Return the name of the group whose orbit is computed."""
    return smallest(config.group.name, config.task.transform)


def is_live(config: CnnConfig) -> bool:
    """Whether the backbone runs in every step, because its features change and cannot be stored."""
    return bool(config.task.training == "all" or config.task.batch_norm == "train")


def _features(config: CnnConfig, split: Split) -> dict[str, Any]:
    """Return the options that decide the features for training or evaluating layers."""
    identity = features_identity(config, split)
    if is_live(config):
        # Nothing is stored; the number of images is in the caller's fingerprint.
        identity.pop("max_images", None)
        identity |= {"live": True, "batch_norm": config.task.batch_norm}
    return built_on(VERSIONS["features"], identity)


def is_fitted(config: CnnConfig) -> bool:
    """Whether stage=lambda fits the weighting; else lambda learns with the last layers."""
    return config.method.is_fitted and not learns_jointly(config)


def learns_jointly(config: CnnConfig) -> bool:
    """Whether stage=probe trains lambda too."""
    entry = config.method.entry
    return config.task.training != "none" and entry.needs_net and not entry.needs_pose


def probed(config: CnnConfig) -> CnnConfig:
    """Return the configuration whose stage=probe trains the last layers that a run reads.

    A weighting that is fitted afterwards, or given, reads those of equal weights.
    """
    if config.method.entry.is_fitted and not learns_jointly(config):
        return of_method(config, EQUITUNE)
    return trained_as(config)


def probe_identity(config: CnnConfig) -> dict[str, Any]:
    """Return the options that decide the trained layers that a run reads."""
    config = probed(config)
    task, method = config.task, config.method
    return {
        "features": _features(config, "train"),
        "seed": config.seed,
        "method": method.name,
        "group": config.group.name,
        "lambda_net": method.lambda_net and deciding(method.lambda_net),
        "lambda_relus": task.lambda_relus,
        "transform": task.transform,
        "training": task.training,
        "max_images": task.max_images,
        "loss": task.loss,
        "straight_through": task.straight_through,
        "lambda_training": task.lambda_training,
        "recipe": task.probe and deciding(task.probe),
    }


def lambda_identity(config: CnnConfig) -> dict[str, Any]:
    """Return the options that decide what a weighting learns with the network frozen."""
    task, net = config.task, config.method.lambda_net
    return {
        "features": _features(config, "train"),
        **_stem(config, "train"),
        "probe": _probed_by(config),
        "selection": task.selection,
        "seed": config.seed,
        "method": config.method.name,
        "lambda_net": net and deciding(net),
        "options": config.method.own_options(),
        "lambda_relus": task.lambda_relus,
        "group": config.group.name,
        "transform": task.transform,
        "held_out": task.held_out,
        "loss": task.loss,
        "max_images": task.max_images,
    }


def _probed_by(config: CnnConfig) -> dict[str, Any] | None:
    if config.task.training == "none":
        return None
    return built_on(VERSIONS["probe"], probe_identity(config))


def evaluate_identity(config: CnnConfig) -> dict[str, Any]:
    """Return the options that decide an evaluation."""
    task, split = config.task, cast("Split", config.task.evaluate_on)
    return {
        "features": _features(config, split),
        **_stem(config, split),
        "probe": _probed_by(config),
        **_fitted_by(config),
        **({"over_equitune": True} if task.over_equitune else {}),
        "seed": config.seed,
        "method": config.method.name,
        "group": config.group.name,
        "transform": task.transform,
        "max_images": task.max_images,
        "loss": task.loss,
        "selection": task.selection,
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale": config.scale.name,
    }


def _fitted_by(config: CnnConfig) -> dict[str, Any]:
    if is_fitted(config):
        return {"weighted_by": built_on(VERSIONS["lambda"], lambda_identity(config))}
    own = config.method.own_options()
    return {"options": own} if own else {}


def stem_label(config: CnnConfig) -> str:
    """Return the readable part of the name of a stem's run."""
    return f"{features_label(config)}-{config.method.stem}"


def probe_label(config: CnnConfig) -> str:
    """Return the readable part of the name of the trained layers' run."""
    return method_label(probed(config))


def pretrain_label(config: CnnConfig) -> str:
    """Return the readable part of the name of a backbone's run."""
    task = config.task
    return f"{given(task.pretrain).dataset}-{config.model.name}-seed{task.pretrain_seed}"
