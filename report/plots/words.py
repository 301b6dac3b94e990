"""Plain words in pictures and titles for names of the configuration; rows keep the names."""

from __future__ import annotations

_NAMES = {
    **{"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet_v2": "ImageNet-V2"},
    **{"add_jump": "add jump", "around_right": "around right"},
    **{"rot90": "quarter turns", "rot180": "half turns"},
    **{"resnet": "ResNet", "alexnet": "AlexNet"},
}
_PROTOCOLS = {"paper": "as the paper says", "reference": "as the authors' code"}
_OPTIONS = {
    "finetune.steps": "fine-tuned for {} steps",
    "finetune.every": "measured every {}",
    "finetune.learning_rate": "learning rate {}",
    "checkpoint": "weights {}",
}


def plain(name: str) -> str:
    """A data set, a transform or a model of the paper in plain words; other names as they are."""
    return _NAMES.get(name, name)


def plain_protocol(name: str) -> str:
    """A protocol with what it follows: `protocol paper (as the paper says)`."""
    return f"protocol {name} ({_PROTOCOLS[name]})" if name in _PROTOCOLS else f"protocol {name}"


def plain_options(variant: str) -> str:
    """The options of a row's label: `fine-tuned for 500 steps, learning rate 1e-05`.

    Those without words here stay as they are.
    """
    parts = (part.partition("=") for part in variant.split(", "))
    return ", ".join(
        _OPTIONS[name].format(value) if name in _OPTIONS else f"{name}{sign}{value}"
        for name, sign, value in parts
    )
