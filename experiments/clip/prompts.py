"""Text inputs of CLIP: templates, class names, captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frame.errors import UserError, unknown
from experiments.frame.files import read_lines

if TYPE_CHECKING:
    from experiments.images.options import ImageDataset

FOLDER = Path(__file__).parents[2] / "conf" / "prompts"
IMAGENET = "imagenet"
#: Placeholder of the class name in a template.
PLACE = "{}"


def templates(dataset: ImageDataset) -> tuple[str, ...]:
    """Return the templates of a data set, each with one placeholder for the class name.

    Raises:
        UserError: If there are none of this name, or one lacks the placeholder.
    """
    name = dataset.prompts
    if name is None:
        raise UserError(f"dataset={dataset.name} needs dataset.prompts, one of {_choices()}")
    if name == IMAGENET:
        return _imagenet_templates()
    path = FOLDER / f"{name}.txt"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise unknown("dataset.prompts", name, [*_choices(), "a file with a template per line"])
    lines = tuple(line for line in _lines("dataset.prompts", path) if not line.startswith("#"))
    for line in lines:
        if line.count(PLACE) != 1:
            raise UserError(f"{path}: {line!r} must have one {PLACE}, for the name of the class")
    if not lines:
        raise UserError(f"{path}: has no templates")
    return lines


def _choices() -> list[str]:
    return sorted([IMAGENET, *(path.stem for path in FOLDER.glob("*.txt"))])


def _imagenet_templates() -> tuple[str, ...]:
    """Return the 80 templates of Radford et al. (2021) for ImageNet, from open_clip."""
    import open_clip  # type: ignore[import-untyped]

    return tuple(str(make(PLACE)) for make in open_clip.OPENAI_IMAGENET_TEMPLATES)


def imagenet_names() -> tuple[str, ...]:
    """Return the 1000 curated names of ImageNet's classes, from open_clip."""
    import open_clip

    return tuple(open_clip.IMAGENET_CLASSNAMES)


def _lines(key: str, path: Path) -> tuple[str, ...]:
    """Return the lines of a text file that a key names.

    Raises:
        UserError: If it is not text, or has an invisible character.
    """
    try:
        lines = read_lines(path)
    except UserError as error:
        raise UserError(f"{key}={error}") from error
    if any("\0" in line for line in lines):
        raise UserError(f"{key}={path}: not a text file; it must have an entry per line")
    return lines


def class_names(dataset: ImageDataset, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names that the captions use.

    Args:
        dataset: The data set; its ``class_names`` replaces the names in the data.
        found: The names in the data.

    Raises:
        UserError: If the length of a given list is not the number of classes.
    """
    if dataset.class_names is None:
        return tuple(name.replace("_", " ") for name in found)
    if dataset.class_names == IMAGENET:
        names = imagenet_names()
    else:
        path = Path(dataset.class_names)
        if not path.is_file():
            raise UserError(
                f"dataset.class_names={path}: no such file; it is a file with a name per line, "
                f"or {IMAGENET}"
            )
        names = _lines("dataset.class_names", path)
    if len(names) != len(found):
        raise UserError(
            f"dataset.class_names={dataset.class_names} has {len(names)} names; "
            f"dataset={dataset.name} has {len(found)} classes"
        )
    return names


def captions(templates: tuple[str, ...], names: tuple[str, ...]) -> list[list[str]]:
    """Return the captions of every class, one per template."""
    return [[template.replace(PLACE, name) for template in templates] for name in names]
