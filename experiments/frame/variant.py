"""The options of a configuration that affect numbers, and its departures from ``conf/``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from experiments.frame.conf import changed, read
from experiments.frame.files import file_digest
from experiments.frame.rows import label_of

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


def deciding(section: Any, *, unless: str = "") -> dict[str, Any]:
    """Return the fields of a dataclass that affect numbers, nested, as plain data.

    Args:
        section: The dataclass.
        unless: Also omit fields with this mark.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return deciding(value, unless=unless) if dataclasses.is_dataclass(value) else value

    return {
        item.name: plain(getattr(section, item.name))
        for item in dataclasses.fields(section)
        if not item.metadata.get("how") and not item.metadata.get(unless)
    }


def departures(config: AnyConfig) -> dict[str, Any]:
    """Return the options in which a configuration departs from ``conf/``, as plain data.

    Rows of a run are not main results if its task, method, model, data set or group has other
    values than its scale and protocol define, or weights of the user. Options that are not read
    (None after the task's ``resolve``) do not count.

    Returns:
        For instance ``{"coupling": "joint", "score": "emitted"}``; a ``checkpoint`` is shown as
        the first digits of its SHA-256.
    """
    expected = _defaults(config)
    found: dict[str, Any] = {}
    for section in ("task", "method", "model", "dataset", "group"):
        chosen = _flatten(deciding(getattr(config, section), unless="undeclared"))
        standard = _flatten(expected.get(section, {}))
        # A data set and a model may have keys of the same name.
        prefix = f"{section}." if section in ("dataset", "model") else ""
        found |= {
            f"{prefix}{key}": value
            for key, value in chosen.items()
            if value is not None and value != standard.get(key, value if value == [] else None)
        }
    checkpoint = getattr(config.model, "checkpoint", None)
    if checkpoint is not None:
        found["checkpoint"] = file_digest(Path(checkpoint))[:8]
    return found


def variant(config: AnyConfig) -> str:
    """Return the label of a configuration's rows: its `departures` as readable text."""
    return label_of(departures(config))


def _defaults(config: AnyConfig) -> dict[str, Any]:
    """Return the sections of a configuration as the files in ``conf/`` give them."""
    task, method, protocol = config.task.name, config.method.name, config.protocol.name
    sections = (
        f"task/{task}",
        f"method/{method}",
        f"model/{config.model.name}",
        f"dataset/{config.dataset.name}",
        f"group/{config.group.name}",
    )
    further = (
        f"task_scale/{task}_{config.scale.name}",
        f"task_protocol/{task}_{protocol}",
        f"task_method/{task}_{method}",
        f"task_model/{task}_{config.model.name}",
        f"task_protocol_method/{task}_{protocol}_{method}",
    )
    return _merged(sections, further, tuple(map(changed, (*sections, *further))))


@cache  # each version of the files is merged once
def _merged(
    sections: tuple[str, ...], further: tuple[str, ...], _changed: tuple[int | None, ...]
) -> dict[str, Any]:
    """Return what files say of a section each, and further ones of several."""
    named = {name.partition("/")[0]: read(name) for name in sections}
    merged = OmegaConf.merge(named, *map(read, further))
    plain = OmegaConf.to_container(merged, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
