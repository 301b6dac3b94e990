"""Networks split into features and the classifier that reads them.

The split is the authors': all children but the last compute the features.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from experiments.cnn.cifar_nets import CIFAR
from experiments.cnn.options import is_own
from experiments.frame.errors import UserError, one_line, unknown
from experiments.images.inputs import Preprocessing

if TYPE_CHECKING:
    from experiments.cnn.options import CnnModel

#: Up to this many pixels, torchvision's ResNets get a first convolution for small images.
SMALL = 64
_OWN = "own"
_CIFAR_NAMES = [f"cifar:{name}" for name in CIFAR]


class Split(NamedTuple):
    """How a network is split; both functions take the network, so that copies work.

    Attributes:
        features: Network and images [B, 3, S, S] to features [B, C, h, w].
        classify: Network and features [B, C, h, w] to logits [B, K].
    """

    features: Callable[[Any, Tensor], Tensor]
    classify: Callable[[Any, Tensor], Tensor]


class Backbone(nn.Module):
    """A network as features and classifier; in evaluation mode, the two chained are the network.

    Args:
        model: The original network; its weights keep their names in ``model.state_dict()``.
        split: Where it is split.
        architecture: The name of the network, as for `build_backbone`.
        classes: Number of classes K.
        size: Height and width S of the images, in pixels.
    """

    def __init__(
        self, model: nn.Module, split: Split, architecture: str, classes: int, size: int
    ) -> None:
        super().__init__()
        self.model, self.split = model, split
        self.architecture, self.classes, self.size = architecture, classes, size

    def features(
        self, images: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the features that the classifier reads, [B, C, h, w].

        ResNets: after the average pooling, h = w = 1. AlexNet and VGG: after their pooling.
        DenseNet: before the ReLU and the pooling after the last block, as in the authors' code.
        Transformers: all N tokens, also class and register tokens, as C maps of N x 1.
        """
        return self.split.features(self.model, images)

    def classify(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits [B, K] of features [B, C, h, w], by the rest of the network."""
        return self.split.classify(self.model, features)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch classes"]:
        """Return the logits, [B, K]."""
        return self.classify(self.features(images))

    @cached_property
    def feature_shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of one image's features, from a run on a black image."""
        with _dry(self.model) as device:
            features = self.features(torch.zeros(1, 3, self.size, self.size, device=device))
            logits = self.classify(features)
        if logits.shape != (1, self.classes):
            raise ValueError(f"logits of shape {list(logits.shape)}, not {[1, self.classes]}")
        _, channels, height, width = features.shape
        return channels, height, width


@contextmanager
def _dry(model: nn.Module) -> Iterator[torch.device]:
    """Run a network in evaluation mode without side effects; yields the device of its weights."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield next(model.parameters()).device
    finally:
        for module in training:
            module.training = True


def build_backbone(architecture: str, classes: int, size: int) -> Backbone:
    """Build a network with new weights, drawn from PyTorch's global random state.

    Args:
        architecture: ``cifar:NAME`` (a key of `CIFAR`), ``torchvision:NAME``, ``timm:NAME``, or
            the user's ``module:function``, which is called with the number of classes.
            For images of at most `SMALL` pixels, torchvision's ResNets start with a 3x3 convolution
            of stride 1 and have no max-pooling.
        classes: Number of classes K.
        size: Height and width S of the images, in pixels.

    Raises:
        UserError: If the name is not known or the network cannot take images of this size.
    """
    family, name = parse(architecture)
    model = _BUILDERS[family](name, classes, size)
    try:
        split = _timm_split(name, model, size) if family == "timm" else _children_split(model)
        backbone = Backbone(model, split, architecture, classes, size)
        _ = backbone.feature_shape
        if family == _OWN:
            _check_cut(backbone, size)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if family == _OWN:
            raise UserError(
                f"{architecture} cannot be cut before its last child, or cannot take images of "
                f"{size}x{size} pixels ({one_line(error)}); its children must be called in their "
                "order, the last one on the flattened features"
            ) from error
        fitting = {"cifar": (32, 32), "torchvision": (224, 224)}.get(family)
        height, width = fitting or model.pretrained_cfg["input_size"][1:]
        raise UserError(
            f"{architecture} cannot take images of {size}x{size} pixels ({one_line(error)}): it is "
            f"made for {height}x{width}; for 32x32 there are {', '.join(_CIFAR_NAMES)}"
        ) from error
    return backbone


def parse(architecture: str) -> tuple[str, str]:
    """Split the name of an architecture into family and name.

    Raises:
        UserError: If there is no such network; the line names the valid choices.
    """
    family, _, name = architecture.partition(":")
    if family == "torchvision":
        from torchvision import models  # type: ignore[import-untyped]

        if name in ("googlenet", "inception_v3"):
            raise UserError(f"{architecture} has classifiers on the side, which have no place here")
        _check(architecture, models.list_models(module=models), "torchvision.models.list_models()")
    elif family == "timm":
        import timm

        # With pretrained=True, names end with the tag of a set of weights.
        names = [*timm.list_models(), *timm.list_models(pretrained=True)]
        _check(architecture, names, "timm.list_models()")
    elif is_own(architecture):
        return _OWN, architecture
    elif architecture not in _CIFAR_NAMES:
        choices = [*_CIFAR_NAMES, "torchvision:NAME", "timm:NAME", "MODULE:FUNCTION"]
        raise unknown("model.architecture", architecture, choices)
    return family, name


def _check_cut(backbone: Backbone, size: int) -> None:
    """Raise ValueError unless features and classifier of a user's network equal the network."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        images = torch.linspace(-2, 2, 2 * 3 * size * size).view(2, 3, size, size).sin()
        whole, halves = backbone.model(images), backbone(images)
    backbone.train(training)
    if not isinstance(whole, Tensor) or not torch.allclose(whole, halves, rtol=1e-4, atol=1e-5):
        raise ValueError("its children, called one after the other, do not give what it gives")


def _build_own(name: str, classes: int, size: int) -> nn.Module:
    """Call the user's function.

    Raises:
        UserError: If there is none, or it does not return a network.
    """
    module, _, function = name.partition(":")
    try:
        network = getattr(import_module(module), function)(classes)
    except Exception as error:  # whatever a user's code raises
        raise UserError(
            f"model.architecture={name} cannot be built ({one_line(error)}); it names a function "
            "that takes the number of classes and returns a network"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"model.architecture={name} returned a {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def _check(architecture: str, names: Sequence[str], where: str) -> None:
    """Raise if a name is unknown, without printing the whole list of names."""
    family, _, name = architecture.partition(":")
    if name not in names:
        near = [f"{family}:{n}" for n in difflib.get_close_matches(name, names, cutoff=0.5)]
        hint = f" (nearest: {', '.join(near)})" if near else ""
        raise UserError(f"model.architecture={architecture} is not known{hint}; {where} names all")


def _build_torchvision(name: str, classes: int, size: int) -> nn.Module:
    from torchvision import models

    model: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    if size <= SMALL and isinstance(model, models.ResNet):
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    for module in model.modules():
        # Some classifiers begin with in-place dropout, which must not change the features.
        if isinstance(module, nn.Dropout):
            module.inplace = False
    return model


def _build_timm(name: str, classes: int, size: int) -> Any:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=classes)


_BUILDERS: dict[str, Callable[[str, int, int], Any]] = {
    "cifar": lambda name, classes, size: CIFAR[name](classes),
    "torchvision": _build_torchvision,
    "timm": _build_timm,
    _OWN: _build_own,
}

_FLAT, _AS_IS = nn.Flatten(), nn.Identity()
_POOLED = nn.Sequential(nn.AdaptiveAvgPool2d(1), _FLAT)
#: The steps between features and last child of torchvision's networks, if not `_FLAT`.
_BETWEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "ConvNeXt": _AS_IS,
    "DenseNet": nn.Sequential(nn.ReLU(), _POOLED),
    "MaxVit": _AS_IS,
    "MNASNet": lambda features: features.mean([2, 3]),
    "MobileNetV2": _POOLED,
    "ShuffleNetV2": lambda features: features.mean([2, 3]),
    "SqueezeNet": _AS_IS,  # the last child returns logits of shape [B, K, 1, 1]
    "VisionTransformer": lambda features: features[:, :, 0, 0],  # the class token
}


def _children_split(model: nn.Module) -> Split:
    kind = type(model).__name__
    before = _vit_tokens if kind == "VisionTransformer" else _all_but_last
    return Split(before, partial(_last, _BETWEEN.get(kind, _FLAT)))


def _all_but_last(model: nn.Module, images: Tensor) -> Tensor:
    """Run all children but the last, and skip a flattening one: features are maps."""
    for child in list(model.children())[:-1]:
        for layer in child if isinstance(child, nn.ModuleList) else [child]:
            images = images if isinstance(layer, nn.Flatten) else layer(images)
    return images


def _vit_tokens(model: Any, images: Tensor) -> Tensor:
    tokens = [model.class_token.expand(len(images), -1, -1), model._process_input(images)]
    return _LAYOUTS["NLC"][0](model.encoder(torch.cat(tokens, dim=1)))


def _last(between: Callable[[Tensor], Tensor], model: nn.Module, features: Tensor) -> Tensor:
    return torch.flatten(list(model.children())[-1](between(features)), 1)


#: Feature layouts of timm's networks: functions to [B, C, h, w], and back.
_LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "NCHW": (_AS_IS, _AS_IS),
    "NHWC": (lambda x: x.permute(0, 3, 1, 2), lambda x: x.permute(0, 2, 3, 1)),
    "NLC": (lambda x: x.mT.unsqueeze(-1), lambda x: x.squeeze(-1).mT),
    "NC": (lambda x: x[:, :, None, None], _FLAT),
}


def _timm_split(name: str, model: Any, size: int) -> Split:
    with _dry(model) as device:
        found = model.forward_features(torch.zeros(1, 3, size, size, device=device))
    if not isinstance(found, Tensor) or found.ndim not in (2, 3, 4):
        raise UserError(f"timm:{name} is not supported: its features are not one array")
    layout = {2: "NC", 3: "NLC", 4: getattr(model, "output_fmt", "NCHW")}[found.ndim]
    to_maps, from_maps = _LAYOUTS[layout]
    return Split(
        lambda model, images: to_maps(model.forward_features(images)),
        lambda model, features: model.forward_head(from_maps(features)),
    )


def preprocessing(model: CnnModel) -> Preprocessing:
    """Return the preprocessing of images for a configuration's network."""
    return Preprocessing(model.size, tuple(model.mean), tuple(model.std))
