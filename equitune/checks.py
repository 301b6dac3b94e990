"""A measurement of how far a function is from equivariance, f(gx) = g f(x) (Theorem 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune.actions import Action


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
        ValueError: If the groups of the actions differ, or the batch is empty.
    """
    if action_in.group != action_out.group:
        raise ValueError(
            f"both actions must be of one group, got {action_in.group!r} on inputs "
            f"and {action_out.group!r} on outputs"
        )
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"the input needs at least one sample, got shape {tuple(x.shape)}")
    output = model(x)
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
