"""What a method costs: passes of a model per prediction, and trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn


def rows_read(modules: Iterable[nn.Module], predict: Callable[[], object]) -> int:
    """Return how many rows some modules read while a function runs, by counting.

    Args:
        modules: The modules, whose first argument is a batch; each is counted once.
        predict: The function, which calls them.
    """
    rows: list[int] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
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
