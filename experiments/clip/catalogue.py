"""Names and preprocessing of open_clip's models."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from experiments.frame.errors import UserError

if TYPE_CHECKING:
    from experiments.clip.options import ClipModel

#: open_clip's warning about a model that is built without weights.
_EMPTY = "No pretrained weights loaded"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's warnings and silence its progress messages while the body runs.

    open_clip logs to the root logger; other loggers are not affected.
    """
    root = logging.getLogger()
    root.addFilter(_is_worth_saying)
    try:
        yield
    finally:
        root.removeFilter(_is_worth_saying)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING and not str(record.msg).startswith(_EMPTY)


def complete(model: ClipModel) -> None:
    """Check that open_clip has a model, and fill in its preprocessing.

    Raises:
        UserError: Naming the nearest names, for an unknown architecture or tag.
    """
    import open_clip  # type: ignore[import-untyped]
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict  # type: ignore[import-untyped]

    known = open_clip.list_models()
    if model.architecture not in known:
        raise _unknown("model.architecture", model.architecture, known, "open_clip.list_models()")
    if model.checkpoint is None or model.weights != "ours":
        tags = open_clip.list_pretrained_tags_by_model(model.architecture)
        if model.weights not in tags:
            raise _unknown("model.weights", model.weights, tags, "ours is for architecture=custom")
    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    sees = merge_preprocess_dict(PreprocessCfg(), tag)
    model.size = model.size or own_size(model)
    model.mean = model.mean or list(sees["mean"])
    model.std = model.std or list(sees["std"])
    model.interpolation = model.interpolation or sees["interpolation"]
    model.resize_mode = model.resize_mode or sees["resize_mode"]


def own_size(model: ClipModel) -> int:
    """Return the image size (height and width) of an open_clip architecture."""
    import open_clip

    return int(open_clip.get_model_config(model.architecture)["vision_cfg"]["image_size"])


def _unknown(key: str, value: str, known: Sequence[str], note: str) -> UserError:
    near = difflib.get_close_matches(value, known, n=5, cutoff=0.4) or sorted(known)[:5]
    return UserError(f"{key}={value} is unknown; near it are: {', '.join(near)} ({note})")
