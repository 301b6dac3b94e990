"""Networks and folders of images for the command line. What it needs is imported when needed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class Refused(Exception):
    """What was asked for cannot be done; the message is one line."""


class Network(NamedTuple):
    """A classifier of images, in evaluation mode.

    Attributes:
        model: Maps images [N, 3, S, S] to scores [N, C].
        transform: Makes an image [3, S, S] of one of PIL's.
        classes: The number of classes C.
        names: The index of a class by its names, in lower case.
    """

    model: nn.Module
    transform: Callable[[Any], Tensor]
    classes: int
    names: dict[str, int]


class Source(NamedTuple):
    """Where networks come from.

    Attributes:
        build: Called with whether to fetch weights, and with options of the network.
        transform_of: Returns the transform that a network was trained with.
        categories: Names of the classes that its weights know.
    """

    build: Callable[..., nn.Module]
    transform_of: Callable[[nn.Module], Callable[[Any], Tensor]]
    categories: Sequence[str]


class Files(NamedTuple):
    """Images, their classes if they are in folders of one class each, and a note on these."""

    paths: list[Path]
    labels: list[int] | None
    note: str = ""


def load_network(name: str, weights: str, size: int | None) -> Network:
    """Return a network of torchvision or timm.

    Args:
        name: "torchvision:NAME" or "timm:NAME".
        weights: "default", "none" for random ones, or a file: .safetensors, or one of PyTorch's,
            which is read without running code.
        size: Side of the images S. Default None: as the network was trained.

    Raises:
        Refused: If there is no such network, its weights cannot be had, or they do not fit.
    """
    family, _, own = name.partition(":")
    source = {"torchvision": _torchvision, "timm": _timm}[family](own, size)
    try:
        model = _with_weights(source, weights).eval()
        transform = source.transform_of(model)
        with torch.no_grad():
            classes = model(transform(_black())[None]).shape[1]
    except Exception as error:  # of the network, the hub and the file: of any type
        raise Refused(f"--model {name} --weights {weights}: {_line(error)}") from error
    return Network(model, transform, classes, _names(source.categories, classes))


def _with_weights(source: Source, weights: str) -> nn.Module:
    if weights == "none":
        return source.build(False)
    if weights != "default":
        return _filled(source, _read(Path(weights)))
    try:
        return source.build(True)
    except Exception as error:  # of the network and the hub: of any type
        hint = "they cannot be had; give a file, or none for random ones"
        raise Refused(f"{hint}: {_line(error)}") from error


def _torchvision(name: str, size: int | None) -> Source:
    models = _needed("torchvision.models")
    _check_known("torchvision", name, models.list_models(module=models))
    default = models.get_model_weights(name).DEFAULT
    transform = default.transforms()
    if size is not None:
        ratio = transform.resize_size[0] / transform.crop_size[0]
        transform = default.transforms(crop_size=size, resize_size=round(ratio * size))

    def build(fetch: bool, **options: Any) -> Any:
        """Return the network, with published weights if `fetch`."""
        return models.get_model(name, weights=default if fetch else None, **options)

    return Source(build, lambda model: transform, default.meta["categories"])


def _timm(name: str, size: int | None) -> Source:
    timm, data = _needed("timm"), _needed("timm.data")
    if not timm.is_model(name):
        _check_known("timm", name, timm.list_models())

    def transform_of(model: nn.Module) -> Any:
        """Return the preprocessing of a network, for images of the size that was asked for."""
        options = data.resolve_model_data_config(model)
        if size is not None:
            options["input_size"] = (3, size, size)
        return data.create_transform(**options)

    def build(fetch: bool, **options: Any) -> Any:
        """Return the network, with published weights if `fetch`."""
        return timm.create_model(name, pretrained=fetch, **options)

    return Source(build, transform_of, data.ImageNetInfo().label_descriptions())


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = {"PIL": "pillow"}.get(module, module.partition(".")[0])
        raise Refused(f"{package} is needed: pip install {package}") from error


def _check_known(family: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, 5, 0.3) or known[:5]
        raise Refused(f"{family} has no classifier {name!r}: choose {', '.join(close)} or another")


def _black() -> Any:
    return _needed("PIL.Image").new("RGB", (64, 64))


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        found: dict[str, Tensor] = _needed("safetensors.torch").load_file(file)
        return found
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        return loaded.get("state_dict", loaded)  # type: ignore[no-any-return]
    except (UnpicklingError, AttributeError) as error:
        raise Refused("no file of weights; write torch.save(model.state_dict(), FILE)") from error


def _filled(source: Source, state: dict[str, Tensor]) -> nn.Module:
    """Return a network with weights; the rows of the last ones are its classes."""
    model = source.build(False)
    last = next(reversed(model.state_dict()))
    if last in state and len(state[last]) != len(model.state_dict()[last]):
        model = source.build(False, num_classes=len(state[last]))
    model.load_state_dict(state)
    return model


def _names(categories: Sequence[str], classes: int) -> dict[str, int]:
    """Return the index of each class by its names, and by its synset for those of ImageNet."""
    if len(categories) != classes:
        return {}
    found = {name.lower(): index for index, name in enumerate(categories)}
    twice = {name for name in found if sum(name == one.lower() for one in categories) > 1}
    synsets = []
    if classes == 1000:
        with suppress(ImportError):
            synsets = import_module("timm.data").ImageNetInfo().label_names()
    known = {name: index for name, index in found.items() if name not in twice}
    return known | {name: index for index, name in enumerate(synsets)}


def find_images(folder: Path) -> dict[str, list[Path]]:
    """Return the images by the name of their folder of one class; by "" if there are no such.

    Raises:
        Refused: If there is no image, or none in some of the folders.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    found = {path.name: _images(path) for path in folders}
    empty = [name for name, paths in found.items() if not paths]
    if len(empty) == len(found):
        found = {"": _images(folder)}
    elif empty:
        raise Refused(
            f"--images {folder}: no image ({', '.join(SUFFIXES)}) is in its folder {empty[0]!r}; "
            "remove the folder, or add images"
        )
    if not any(found.values()):
        raise Refused(f"--images {folder}: no image ({', '.join(SUFFIXES)}) is in it")
    return found


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
    )


def label(found: dict[str, list[Path]], network: Network) -> Files:
    """Return all images, with classes by the names of their folders.

    Names are, in this order: indices of classes; names or synsets of classes; or as many as there
    are classes, then in alphabetical order.

    Raises:
        Refused: If a folder is no class.
    """
    paths = [path for one in found.values() for path in one]
    if list(found) == [""]:
        return Files(paths, None)
    note = ""
    spelled = {name: name.lower().replace("_", " ") for name in found}
    if all(name.isdecimal() and int(name) < network.classes for name in found):
        index = {name: int(name) for name in found}
        if len(found) == network.classes and list(index.values()) != sorted(index.values()):
            note = (
                "Folders are indices of classes: 10 is class 10. torchvision's ImageFolder sorts "
                "them as text; for a network trained with it name them 00, 01, ..."
            )
    elif all(word in network.names for word in spelled.values()):
        index = {name: network.names[word] for name, word in spelled.items()}
    elif len(found) == network.classes:
        index = {name: place for place, name in enumerate(found)}
    else:
        odd = next((name for name, word in spelled.items() if word not in network.names), "")
        raise Refused(
            f"folder {odd!r} is no class of this network: name folders by index, 0 to "
            f"{network.classes - 1}, or by class"
            + "".join(f", as {name!r}" for name in list(network.names)[:1])
            + "; or put all images into one folder, without labels"
        )
    return Files(paths, [index[name] for name, one in found.items() for _ in one], note)


def read_batches(files: Files, transform: Callable[[Any], Tensor], size: int) -> Iterator[Any]:
    """Yield batches of images, [B, 3, S, S], with their labels if there are any.

    Raises:
        Refused: If a file is no image.
    """
    for start in range(0, len(files.paths), size):
        part = slice(start, start + size)
        inputs = torch.stack([_image(path, transform) for path in files.paths[part]])
        yield inputs if files.labels is None else (inputs, torch.tensor(files.labels[part]))


def _image(path: Path, transform: Callable[[Any], Tensor]) -> Tensor:
    image, operations = _needed("PIL.Image"), _needed("PIL.ImageOps")
    try:
        with image.open(path) as opened:
            if opened.mode[0] in "IF":
                raise Refused(
                    f"{path}: has more than 8 bits for a pixel (Pillow's mode {opened.mode}), and "
                    "which value is white is unknown; save it with 8 bits"
                )
            # Cameras note in the file how to turn the image upright.
            return transform(operations.exif_transpose(opened).convert("RGB"))
    except Refused:
        raise
    except Exception as error:  # of the decoder: of any type
        raise Refused(f"{path}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
