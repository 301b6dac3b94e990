"""Trees of tensors: what models return, and selection gathers.

PyTorch's own tree functions are private, and know a dataclass only after it is registered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from equitune.actions import Action


def children(tree: Any) -> dict[Any, Any] | None:
    """Return the parts of a tuple, list, mapping or dataclass by index or name, else None."""
    if isinstance(tree, Mapping):
        return dict(tree.items())
    if is_dataclass(tree) and not isinstance(tree, type):
        return {field.name: getattr(tree, field.name) for field in fields(tree)}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return dict(zip(tree._fields, tree, strict=True))
    if isinstance(tree, tuple | list):
        return dict(enumerate(tree))
    return None


def map_tree(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every tensor of nested tuples, lists, dicts and dataclasses.

    Args:
        function: Called with each tensor, and with those at its place in the other trees.
        tree: The tree; None is kept as it is.
        *others: Trees of the same structure.

    Returns:
        A tree of the same structure. Named tuples, dataclasses and ordered dicts keep their types;
        the output of a Hugging Face model is a dataclass. Other mappings become dicts.

    Raises:
        TypeError: If a leaf is neither a tensor nor None.
        ValueError: If another tree has other parts.
    """
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if tree is None:
        return None
    parts = children(tree)
    if parts is None:
        raise TypeError(
            "expected tensors in tuples, lists, dicts or dataclasses, got " + type(tree).__name__
        )
    beside = [children(other) or {} for other in others]
    for other in beside:
        if other.keys() != parts.keys():
            raise ValueError(f"trees differ: one has {list(parts)}, another {list(other)}")
    mapped = {
        key: map_tree(function, value, *[other[key] for other in beside])
        for key, value in parts.items()
    }
    return _like(tree, mapped)


def _like(tree: Any, parts: dict[Any, Any]) -> Any:
    """Return a tree of the type of another, from its parts."""
    if is_dataclass(tree) or hasattr(tree, "_fields"):
        return type(tree)(**parts)
    if isinstance(tree, OrderedDict):
        return OrderedDict(parts)
    if isinstance(tree, tuple | list):
        return list(parts.values()) if isinstance(tree, list) else tuple(parts.values())
    return parts


def leaves(tree: Any, name: str) -> list[tuple[str, Any]]:
    """Return every leaf but None with the path to it, such as ("output.boxes.0", tensor)."""
    if tree is None:
        return []
    parts = None if isinstance(tree, Tensor) else children(tree)
    if parts is None:
        return [(name, tree)]
    return [leaf for key, value in parts.items() for leaf in leaves(value, f"{name}.{key}")]


def move_tree(
    move: Callable[[Action, Tensor], Tensor], actions: Any, tree: Any, name: str = "output"
) -> Any:
    """Apply a function of an action and a tensor to every tensor of a tree.

    Args:
        move: Called with the action of each tensor, and the tensor.
        actions: One action for all tensors of the tree; or a tuple, list or mapping that has such
            an entry for every part of the tree.
        tree: The tree.
        name: What the tree is called in messages.

    Returns:
        A tree of the same structure.

    Raises:
        ValueError: If a part of the tree has no action.
    """
    if tree is None:
        return None
    if isinstance(actions, Action):
        return map_tree(lambda leaf: move(actions, leaf), tree)
    entries = children(actions) or {}
    parts = None if isinstance(tree, Tensor) else children(tree)
    if parts is None:
        raise ValueError(f"{name} is one tensor, but there are actions for {list(entries)}")
    missing = [key for key, part in parts.items() if part is not None and key not in entries]
    if missing:
        raise ValueError(f"{name} has {list(parts)}, but there are actions for {list(entries)}")
    moved = {
        key: move_tree(move, entries.get(key), part, f"{name}.{key}") for key, part in parts.items()
    }
    return _like(tree, moved)
