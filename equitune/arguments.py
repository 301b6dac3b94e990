"""What a model is given beside its input, and what is taken of its output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from equitune.trees import children

#: A key, attribute or index of what a model returns, or a function of it.
Output = str | int | Callable[[Any], Any]


def repeated(value: Any, batch: int, times: int) -> Any:
    """Return a further argument of the model for a batch of that many views, group-major."""
    if isinstance(value, Tensor):
        begins_with_batch = value.ndim > 0 and value.shape[0] == batch
        return value.repeat(times, *[1] * (value.ndim - 1)) if begins_with_batch else value
    if type(value) in (tuple, list):
        return type(value)(repeated(part, batch, times) for part in value)
    if type(value) is dict:
        return {key: repeated(part, batch, times) for key, part in value.items()}
    return value


def places(model: nn.Module, named: Mapping[str, Any]) -> list[str]:
    """Return the names of the model's arguments behind the first, checked for those with actions.

    Raises:
        ValueError: If the model takes no argument of a name.
    """
    if not named:
        return []
    parameters = list(inspect.signature(model.forward).parameters.values())
    names = [parameter.name for parameter in parameters]
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    unknown = [name for name in named if name not in names]
    if unknown and not open_ended:
        raise ValueError(f"keyword_actions has {unknown}, but the model takes {names[1:]}")
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters[1:] if parameter.kind in kinds]


def pick(found: Any, output: Output | None) -> Any:
    """Return the part of what a model returns that `output` names."""
    if output is None:
        return found
    if callable(output):
        return output(found)
    parts = {} if isinstance(found, Tensor) else children(found) or {}
    if output in parts:
        return parts[output]
    if isinstance(output, str) and not isinstance(found, Tensor) and hasattr(found, output):
        return getattr(found, output)
    known = f"but {', '.join(map(repr, parts))}" if parts else f"it is a {type(found).__name__}"
    raise ValueError(f"the model's output has no {output!r}, {known}")
