"""Checks of inputs and outputs, and the error of f(gx) = g f(x) (Theorem 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune.actions import Action


def check_input(x: Any) -> None:
    """Raise TypeError or ValueError unless x is one tensor with a batch dim."""
    if not isinstance(x, Tensor):
        raise TypeError(f"the input must be one tensor [batch, ...], got {type(x).__name__}")
    if x.ndim == 0:
        raise ValueError("the input must have a batch dim, [batch, ...], got a 0-dim tensor")


def check_output(output: Any, count: int, what: str) -> Tensor:
    """Return the output of a model for `count` inputs, checked.

    Raises:
        TypeError: If it is not one tensor.
        ValueError: If it is not [count, ...].
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"the model must return one tensor, got {type(output).__name__}")
    if output.ndim == 0 or output.shape[0] != count:
        raise ValueError(
            f"the model must return [{count}, ...] for {count} {what}, got shape "
            f"{tuple(output.shape)}; one input alone is x[None]"
        )
    return output


@torch.no_grad()
def equivariance_error(
    model: Callable[[Tensor], Tensor],
    x: Shaped[Tensor, "batch ..."],
    action_in: Action,
    action_out: Action,
) -> float:
    """Return the largest deviation of f(gx) from g f(x) over the group.

    Runs without gradient and leaves train or evaluation mode as it is. Put the model into
    evaluation mode first: in training mode dropout makes the number meaningless and batch
    normalisation moves its running averages.

    Equivariance is not accuracy: a rule that always keeps the wrong view, or a constant, has error
    0. Compare accuracies too.

    Args:
        model: f, maps [B, ...] to [B, ...].
        x: A batch of inputs, [B, ...].
        action_in: How the group acts on inputs.
        action_out: How the same group acts on outputs.

    Returns:
        For real outputs max_g max |f(gx) - g f(x)| / max |f(x)|, where equal infinities differ by
        nothing and the divisor is the largest finite entry; NaN if an output is NaN. For integer
        outputs the largest share, over g, of samples with any mismatch.

    Raises:
        TypeError: If x is no tensor, or f does not return one.
        ValueError: If the groups of the actions differ, the batch is empty, or f does not return
            one output per input.
    """
    if action_in.group != action_out.group:
        raise ValueError(
            f"both actions must be of one group, got {action_in.group!r} on inputs "
            f"and {action_out.group!r} on outputs"
        )
    check_input(x)
    if x.shape[0] == 0:
        raise ValueError(f"the input needs at least one sample, got shape {tuple(x.shape)}")
    output = check_output(model(x), len(x), "inputs")
    real = output.is_floating_point() or output.is_complex()
    errors = []
    for g in action_in.group.elements:
        expected = action_out.act(g, output)
        actual = model(action_in.act(g, x))
        if actual.shape != expected.shape:
            raise ValueError(
                f"f(gx) has shape {tuple(actual.shape)} and g f(x) {tuple(expected.shape)} "
                f"for g={g}"
            )
        errors.append(_distance(actual, expected) if real else _mismatch(actual, expected))
    error = torch.stack(errors).max()
    return float(error / _size(output) if real else error)


def _distance(actual: Tensor, expected: Tensor) -> Tensor:
    difference = (actual - expected).abs()
    return difference.masked_fill(actual == expected, 0.0).max()


def _mismatch(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual != expected).reshape(len(actual), -1).any(dim=1).double().mean()


def _size(output: Tensor) -> Tensor:
    finite = output.abs().masked_fill(~torch.isfinite(output), 0.0)
    return finite.max().clamp(min=torch.finfo(finite.dtype).tiny)
