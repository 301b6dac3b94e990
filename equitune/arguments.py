"""What a model is given beside its input, and what is taken of its output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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


class Arguments(NamedTuple):
    """The arguments of a model behind the first.

    Attributes:
        places: The names of those that can be given by position.
        names: The names of all that it names.
        open_places: Whether it takes any number by position (*args).
    """

    places: list[str]
    names: list[str]
    open_places: bool

    def check(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], actions: Mapping[str, Any]
    ) -> None:
        """Check that each argument with an action is given by its name.

        Raises:
            TypeError: If one is given by position, or may be.
            ValueError: If one is not given, and the model does not name it.
        """
        for name, _ in zip(self.places, args, strict=False):
            if name in actions:
                raise TypeError(f"{name} is in keyword_actions: give it by name, {name}=...")
        if self.open_places and len(args) > len(self.places):
            raise TypeError(
                "the model takes *args: with keyword_actions give all further arguments by name"
            )
        missing = [name for name in actions if name not in (*self.names, *kwargs)]
        if missing:
            raise ValueError(
                f"keyword_actions has {missing}, but the call gives {[*kwargs]}, and the model "
                f"names {self.names}"
            )


def arguments_of(model: nn.Module, actions: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a model, checked for those with actions.

    Raises:
        ValueError: If the model takes no argument of a name.
    """
    if not actions:
        return Arguments([], [], open_places=True)
    first, *others = inspect.signature(model.forward).parameters.values()
    kinds = {one.kind for one in (first, *others)}
    named = [one for one in others if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    names = [one.name for one in named]
    unknown = [name for name in actions if name not in names]
    if unknown and first.VAR_KEYWORD not in kinds:
        raise ValueError(f"keyword_actions has {unknown}, but the model takes {names}")
    places = [one.name for one in named if one.kind != one.KEYWORD_ONLY]
    return Arguments(places, names, first.VAR_POSITIONAL in kinds)


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
