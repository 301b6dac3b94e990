"""Completes and validates the configuration of the CLIP task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.clip.options import FILES
from experiments.clip.prompts import templates
from experiments.external.published import settle, unpin
from experiments.frame.errors import UserError
from experiments.frame.fields import check_values
from experiments.frame.methods import Kind
from experiments.images.config import check_group, check_relus, is_ours, pretraining_data

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig, ClipModel

#: Models whose values in conf/model/ are known to equal open_clip's.
KNOWN = ("RN50", "RN101", "ViT-B-32", "ViT-B-16")


def resolve(config: ClipConfig) -> None:
    """Complete and validate the configuration, before anything is loaded.

    Options that the run does not read become None.

    Raises:
        UserError: For a model that open_clip does not have, and combinations that make no sense.
    """
    _settle_weights(config.model)
    _check_model(config)
    _check_size(config)
    templates(config.dataset)
    _check_transform(config)
    _check_method(config)
    _check_training(config)
    if not is_ours(config):
        config.task.pretrain = None


def _settle_weights(model: ClipModel) -> None:
    """Find out which file the weights come from."""
    unpin(model)
    if model.local is None and model.checkpoint is None:
        return
    if model.weights == "ours" or model.config is not None:
        settle(model, "", ())
        return
    from experiments.clip.checkpoints import known_digests

    settle(model, f"model.weights={model.weights} of {model.architecture}", known_digests(model))


def _check_model(config: ClipConfig) -> None:
    task, model = config.task, config.model
    if (model.architecture == "custom") != (model.config is not None):
        raise UserError(
            f"model.architecture={model.architecture}: model.config belongs to "
            "model.architecture=custom, and to no other"
        )
    if model.config is not None:
        _check_parts(model)
    elif not _is_known(model):
        from experiments.clip.catalogue import complete

        complete(model)
    for name in ("mean", "std"):
        values = getattr(model, name)
        if values is None or len(values) != 3 or (name == "std" and min(values) <= 0):
            raise UserError(f"model.{name}={values} must be three numbers, above 0 for std")
    if None in (model.size, model.interpolation, model.resize_mode):
        raise UserError(
            "model.size, model.interpolation and model.resize_mode are needed with model.config"
        )
    if is_ours(config):
        if task.pretrain is None:
            raise UserError("model.weights=ours needs task.pretrain")
        data = pretraining_data(config)
        check_values(data, "task.pretrain.dataset.")
        templates(data)
    elif config.stage == "pretrain":
        raise UserError(
            f"stage=pretrain trains a model, but model.weights={model.weights} are to be loaded; "
            "choose model=SmallCLIP"
        )
    elif model.architecture == "custom" and model.checkpoint is None:
        raise UserError(
            f"model.weights={model.weights}: a model of model.config is trained (ours) or loaded "
            "from model.checkpoint"
        )


def _is_known(model: ClipModel) -> bool:
    """Whether conf/model/ has all values that open_clip would supply."""
    sees = (model.size, model.mean, model.std, model.interpolation, model.resize_mode)
    return model.architecture in KNOWN and model.weights == "openai" and None not in sees


def _check_parts(model: ClipModel) -> None:
    """Refuse a custom model that lacks values that open_clip and the tokenizer need."""
    config = model.config
    assert config is not None
    for part, key in (("vision_cfg", "layers"), ("text_cfg", "context_length"), ("embed_dim", "")):
        found = config.get(part)
        if found is None or (key and not (isinstance(found, Mapping) and key in found)):
            name = f"{part}.{key}" if key else part
            raise UserError(
                f"model.config.{name} is missing; model.config needs embed_dim, vision_cfg.layers "
                "and text_cfg.context_length, see conf/model/SmallCLIP.yaml"
            )
    # open_clip's default is 224.
    size = config["vision_cfg"].get("image_size", 224)
    if model.size is not None and size != model.size:
        raise UserError(
            f"model.config.vision_cfg.image_size={size} is not model.size={model.size}; give both "
            "the same value"
        )


def _check_size(config: ClipConfig) -> None:
    """Refuse image files that would be resized twice; square data sets have a fixed size."""
    data, model = config.dataset, config.model
    if data.kind not in FILES:
        model.resize_mode = None
    elif data.size != model.size:
        raise UserError(
            f"dataset.size={data.size} is not model.size={model.size}; the images of "
            f"dataset={data.name} are files, resized once: give dataset.size={model.size}"
        )


def _check_transform(config: ClipConfig) -> None:
    task, group = config.task, config.group.name
    if task.transform == "auto":
        task.transform = "rot90" if group == "trivial" else group
    if task.draw != "batch":
        task.draw_batch = None
    elif task.draw_batch is None:
        raise UserError("task.draw=batch needs task.draw_batch")


def _check_method(config: ClipConfig) -> None:
    task, method = config.task, config.method.entry
    check_group(config)
    if task.maximum == "elementwise":
        if method.kind is not Kind.CHOICE:
            raise UserError(
                f"task.maximum=elementwise is no weighting, as method={method.name} is; choose "
                "task.maximum=one_view, as protocol=paper does"
            )
        if task.space != "probabilities":
            raise UserError(
                "task.maximum=elementwise is the largest probability of each class: choose "
                "task.space=probabilities or task.maximum=one_view"
            )
        task.loss = None
    if not method.needs_net:
        return
    net = config.method.lambda_net
    assert net is not None
    net.budget()
    check_relus(config)
    if task.lambda_as == "temperature" and method.needs_pose:
        raise UserError(
            f"task.lambda_as=temperature: method={method.name} has weights; choose "
            "task.lambda_as=weight, as protocol=paper does"
        )
    if task.lambda_as == "temperature" and task.space != "probabilities":
        raise UserError(
            "task.lambda_as=temperature weighs nothing: choose task.space=probabilities, where "
            "views of another temperature differ, or task.lambda_as=weight"
        )


def _check_training(config: ClipConfig) -> None:
    task, method = config.task, config.method.entry
    tunes, by_labels = task.training == "image_encoder", method.needs_net and not method.needs_pose
    if config.stage == "finetune" and not tunes:
        raise UserError("stage=finetune needs task.training=image_encoder")
    if tunes and method.is_fitted and not by_labels:
        raise UserError(
            f"method={method.name} weighs the embeddings of the pretrained encoder: choose "
            "task.training=none, or another method"
        )
    if method.augments and not tunes:
        raise UserError(
            f"method={method.name} trains on transformed images, task.training=none does not; "
            "choose task.training=image_encoder"
        )
    if not tunes:
        task.finetune = task.straight_through = task.training_images = None
    elif task.finetune is None:
        raise UserError("task.training=image_encoder needs task.finetune")
    elif task.maximum == "elementwise" and task.straight_through != "mean":
        raise UserError(
            f"task.straight_through={task.straight_through}: task.maximum=elementwise has the "
            "gradient of the mean; choose task.straight_through=mean or task.maximum=one_view"
        )
    if not tunes and not by_labels:
        task.training_loss = task.shuffle = task.selection = None
        if not config.method.is_fitted:
            task.validation = None
        elif not task.validation:
            raise UserError(f"method={method.name} needs held-out images: task.validation above 0")
        return
    if task.training_loss is None or task.shuffle is None or task.selection is None:
        raise UserError("learning needs task.training_loss, task.shuffle and task.selection")
    if task.selection == "validation" and not task.validation:
        raise UserError(
            "task.selection=validation needs held-out images: task.validation above 0, or "
            "task.selection=last"
        )
