"""Declarations of options with their types, values and bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, TypeVar

from omegaconf import MISSING

from experiments.frame.errors import UserError, unknown

ValueT = TypeVar("ValueT")
#: Precisions of matrix products; ``auto``: bfloat16 if the device multiplies it in hardware.
PRECISIONS = ("auto", "float32", "bfloat16")


def one_of(*choices: str) -> Any:
    """Declare a text field with a closed set of values."""
    return field(default=MISSING, metadata={"choices": choices})


def at_least(minimum: float, *, above: bool = False) -> Any:
    """Declare a number field with a lower bound (excluded itself if ``above``)."""
    return field(default=MISSING, metadata={"minimum": minimum, "above": above})


def between(minimum: float, maximum: float, *, below: bool = False) -> Any:
    """Declare a number field with both bounds (the upper one excluded if ``below``)."""
    rule = {"minimum": minimum, "maximum": maximum, "below": below}
    return field(default=MISSING, metadata=rule)


def how(default: Any = MISSING, **rule: Any) -> Any:
    """Declare a field that does not affect the numbers of a run."""
    return field(default=default, metadata={"how": True, **rule})


def in_rows(**rule: Any) -> Any:
    """Declare a field that affects numbers and is already a column of their rows."""
    return field(default=MISSING, metadata={"undeclared": True, **rule})


def of_machine(*choices: str, departs: bool = False) -> Any:
    """Declare a text field that affects numbers and whose ``auto`` depends on the machine.

    Args:
        choices: Its values.
        departs: Whether a value that differs from ``conf/`` is a departure from the protocol.
    """
    rule = {"choices": choices, "machine": True, "undeclared": not departs}
    return field(default=MISSING, metadata=rule)


def only_for(
    need: str, declared: Any, *, required: bool = True, default: Any = dataclasses.MISSING
) -> Any:
    """Declare an option that only some methods read; for the others it becomes None.

    Args:
        need: The property of those methods: an attribute of `experiments.frame.methods.Method`.
        declared: The declaration of the option by another function.
        required: Whether these methods need a value.
        default: Its default; by default the declaration's own.
    """
    rule = {**declared.metadata, "only_for": need, "required": required}
    if declared.default_factory is not dataclasses.MISSING:
        return field(default_factory=declared.default_factory, metadata=rule)
    own = declared.default if default is dataclasses.MISSING else default
    return field(default=own, metadata=rule)


def check_values(section: Any, prefix: str = "") -> None:
    """Check every field that declares choices or bounds, in nested dataclasses too.

    Raises:
        UserError: If one is invalid; names the key, the value and the valid values.
    """
    for item in dataclasses.fields(section):
        value, name = getattr(section, item.name), f"{prefix}{item.name}"
        if dataclasses.is_dataclass(value):
            check_values(value, f"{name}.")
        elif value is not None:
            _check_value(name, value, item.metadata)


def _check_value(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    if "choices" in rule and value not in rule["choices"]:
        raise unknown(name, value, rule["choices"])
    if "minimum" not in rule:
        return
    low, high = rule["minimum"], rule.get("maximum", math.inf)
    above, below = rule.get("above", False), rule.get("below", False)
    fits = (low < value if above else low <= value) and (value < high if below else value <= high)
    if not fits or math.isinf(value):
        bounds = f"above {low}" if above else f"at least {low}"
        if high != math.inf:
            bounds += f" and {'below' if below else 'at most'} {high}"
        raise UserError(f"{name}={value} is out of range; it must be {bounds}")


def given(value: ValueT | None) -> ValueT:
    """Return the value of an option that the run reads; the checks ensure that it is not None."""
    assert value is not None
    return value
