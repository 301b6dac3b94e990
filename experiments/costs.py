"""What a method costs: passes of a model per prediction, and trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn


def rows_read(
    modules: Iterable[nn.Module],
    predict: Callable[[], object],
    size: Callable[..., int] = lambda batch, *others, **named: len(batch),
) -> int:
    """Return how many rows some modules read while a function runs, by counting.

    Args:
        modules: The modules; each is counted once.
        predict: The function, which calls them.
        size: The number of rows in the arguments of a module; default: the first is a batch.
    """
    rows: list[int] = []

    def count(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        rows.append(size(*given, **named))

    hooks = [
        module.register_forward_pre_hook(count, with_kwargs=True)
        for module in dict.fromkeys(modules)
    ]
    try:
        predict()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(rows)


def parameters(*modules: nn.Module | None) -> int:
    """Return the number of parameters of some modules, each counted once."""
    found = {id(p): p.numel() for m in modules if m is not None for p in m.parameters()}
    return sum(found.values())
