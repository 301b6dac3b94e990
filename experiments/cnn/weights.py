"""Weights of networks: fetched, and put into place. No code is ever loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from experiments.cnn.backbones import SMALL, Backbone, parse
from experiments.errors import UserError, one_line
from experiments.weight_files import check_weights, listed, name_faults, wrong_shapes

#: Names of the classifiers of our own and of torchvision's networks.
_CLASSIFIERS = ("linear", "fc", "classifier", "heads", "head")


def class_count(weights: dict[str, Tensor], architecture: str) -> int:
    """Return the number of classes that weights are for: the rows of the classifier's last matrix.

    Args:
        weights: Tensors by name.
        architecture: As for `build_backbone`.

    Raises:
        UserError: If the architecture is unknown or the weights have no classifier.
    """
    heads = _classifiers(architecture)
    matrices = [
        name
        for name, value in weights.items()
        if name.endswith("weight") and value.ndim >= 2 and name.startswith(heads)
    ]
    if not matrices:
        raise UserError(
            f"the weights are not those of {architecture}: they have no classifier named "
            f"{' or '.join(head.rstrip('.') for head in heads)}"
        )
    return len(weights[max(matrices, key=_numbered)])


def _classifiers(architecture: str) -> tuple[str, ...]:
    """Return what the classifier's tensors may begin with."""
    family, name = parse(architecture)
    heads: str | tuple[str, ...] = _CLASSIFIERS
    if family == "timm":
        import timm

        known = timm.get_pretrained_cfg(name)
        heads = (known and known.classifier) or _CLASSIFIERS
    return tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))


def _numbered(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts layer 10 behind layer 9."""
    return [(int(part) if part.isdigit() else -1, part) for part in name.split(".")]


def put_weights(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Put weights into a network, all of them.

    Args:
        backbone: The network; changed in place.
        weights: Tensors by their names in the original network. The counters of batch norms may be
            absent, as in files of before 2018.

    Raises:
        UserError: If names, number of classes or shapes are not those of the network.
    """
    # A copy knows the version of its format; torchvision's MNASNet asks for it.
    state = backbone.model.state_dict()
    architecture = backbone.architecture
    faults = name_faults(weights, state, ("num_batches_tracked",))
    if faults:
        raise UserError(f"the weights are not those of {architecture}: {'; '.join(faults)}")
    classes = class_count(weights, architecture)
    if classes != backbone.classes:
        raise UserError(
            f"the weights are for {classes} classes; this {architecture} is for {backbone.classes}"
        )
    wrong = wrong_shapes(weights, state)
    if wrong:
        stem = "conv1.weight [64, 3, 7, 7] instead of [64, 3, 3, 3]" in wrong
        note = f"; its first convolution is 3x3 up to model.size={SMALL}" if stem else ""
        raise UserError(f"the weights do not fit {architecture}: {listed(wrong)}{note}")
    state.update(weights)
    backbone.model.load_state_dict(state)


def imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """Fetch weights trained on ImageNet, or take them from the cache of an earlier time.

    Args:
        architecture: ``torchvision:NAME``, for the default weights of that name, or ``timm:NAME``.

    Raises:
        UserError: If there are none, or they cannot be fetched.
    """
    family, name = parse(architecture)
    local = "give a file instead, with model.checkpoint=FILE"
    if family == "cifar":
        raise UserError(f"{architecture} has no ImageNet weights; {local} or model.weights=ours")
    try:
        with _no_code(), torch.random.fork_rng(devices=[]):
            weights = _FETCH[family](name)
    except Exception as error:  # networks and hubs fail in any way
        raise UserError(
            f"the ImageNet weights of {architecture} cannot be fetched ({one_line(error)}); {local}"
        ) from error
    return check_weights(weights, f"the ImageNet weights of {architecture}")


def imagenet_name(architecture: str) -> str:
    """Return which published weights `imagenet_weights` takes, nothing fetched.

    Raises:
        UserError: If there are none.
    """
    family, name = parse(architecture)
    if family == "torchvision":
        from torchvision import models  # type: ignore[import-untyped]

        return str(models.get_model_weights(name).DEFAULT.url).rpartition("/")[2]
    if family == "timm":
        import timm

        known = timm.get_pretrained_cfg(name)
        if known is not None:
            return f"{known.architecture}.{known.tag}"
    raise UserError(
        f"{architecture} has no ImageNet weights; give a file instead, with model.checkpoint=FILE, "
        "or model.weights=ours"
    )


@contextmanager
def _no_code() -> Iterator[None]:
    """Make PyTorch refuse pickles that hold code, whatever its caller asks for."""
    names = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ[names[0]] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _fetch_torchvision(name: str) -> dict[str, Tensor]:
    from torchvision import models  # type: ignore[import-untyped]

    chosen = models.get_model_weights(name).DEFAULT
    found = chosen.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
    # The layers of DenseNets had a dot more when their files were written.
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    return {old.sub(r"\1\2.", key): value for key, value in found.items()}


def _fetch_timm(name: str) -> dict[str, Tensor]:
    import timm

    weights: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    return weights


_FETCH = {"torchvision": _fetch_torchvision, "timm": _fetch_timm}
