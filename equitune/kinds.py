"""Checks that an argument is of the kind that a function takes; the errors say what to write."""

from __future__ import annotations

from torch import Tensor


def described(value: object) -> str:
    """Return the type of a value for a message; for a class, with the likely correction."""
    if isinstance(value, type):
        return f"the class {value.__name__}; write {value.__name__}(...)"
    name = getattr(value, "__name__", type(value).__name__)
    return f"{value!r}" if isinstance(value, str) else f"{name}"


def check_kind(name: str, value: object, kind: type, what: str) -> None:
    """Raise TypeError unless a value is of a kind, which the message calls `what`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, got {described(value)}")


def check_tensor(name: str, value: object) -> None:
    """Raise TypeError unless a value is a tensor."""
    check_kind(name, value, Tensor, "a tensor")


def check_function(name: str, value: object, example: str) -> None:
    """Raise TypeError unless a value can be called and is no class."""
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{name} must be a function, as {example} is, got {described(value)}")


def check_whole(name: str, value: object) -> None:
    """Raise TypeError unless a value is a whole number."""
    # What is compiled is an int; NumPy's integers and tensors of one number have no dims.
    if isinstance(value, int) or (hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0):
        return
    raise TypeError(f"{name} must be a whole number, got {described(value)}")
