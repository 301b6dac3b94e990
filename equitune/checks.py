"""Checks of inputs and outputs, and the error of f(gx) = g f(x) (Theorem 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune.actions import Action
from equitune.kinds import check_function, described
from equitune.trees import leaves, move_tree


def check_input(x: Any) -> None:
    """Raise TypeError or ValueError unless x is one tensor with a batch dim."""
    if not isinstance(x, Tensor):
        raise TypeError(f"the input must be one tensor [batch, ...], got {type(x).__name__}")
    if x.ndim == 0:
        raise ValueError("the input must have a batch dim, [batch, ...], got a 0-dim tensor")


def check_output(output: Any, count: int, what: str) -> Any:
    """Return the output of a model for `count` inputs, checked: a tree of tensors.

    Raises:
        TypeError: If a leaf is no tensor.
        ValueError: If a leaf is not [count, ...], or there is none.
    """
    found = leaves(output, "output")
    if not found:
        raise TypeError("the model must return tensors, got none")
    places = {path: "" if path == "output" else f" as {path}" for path, _ in found}
    for path, leaf in found:
        if not isinstance(leaf, Tensor):
            raise TypeError(
                "the model must return a tensor, or tensors in tuples, lists, dicts or "
                f"dataclasses, got {type(leaf).__name__}{places[path]}; name the part you need: "
                "Equivariant(..., output='logits')"
            )
    for path, leaf in found:
        if leaf.ndim == 0 or leaf.shape[0] != count:
            raise ValueError(
                f"the model must return [{count}, ...] for {count} {what}, got shape "
                f"{tuple(leaf.shape)}{places[path]}; one input alone is x[None]"
            )
    return output


def check_actions(action_in: Any, **others: Any) -> None:
    """Raise unless action_in is an action, and the others are such of its group, or trees of such.

    Raises:
        TypeError: If one has another type; with what to write instead.
        ValueError: If their groups differ.
    """
    named = [("action_in", action_in)]
    for name, tree in others.items():
        named += leaves(tree, name)
    if "action_out" in others and not leaves(others["action_out"], ""):
        raise TypeError(
            "action_out must be an Action, as Rot90() is, or a tree of such, got "
            f"{others['action_out']!r}"
        )
    for name, action in named:
        if not isinstance(action, Action):
            raise TypeError(f"{name} must be an Action, as Rot90() is, got {described(action)}")
        if action.group != action_in.group:
            place = "on outputs" if name == "action_out" else f"as {name}"
            raise ValueError(
                f"both actions must be of one group, got {action_in.group!r} on inputs "
                f"and {action.group!r} {place}"
            )


@torch.no_grad()
def equivariance_error(
    model: Callable[[Tensor], Any],
    x: Shaped[Tensor, "batch ..."],
    action_in: Action,
    action_out: Any,
) -> float:
    """Return the largest deviation of f(gx) from g f(x) over the group.

    Runs without gradient and leaves train or evaluation mode as it is. Put the model into
    evaluation mode first: in training mode dropout makes the number meaningless and batch
    normalisation moves its running averages.

    Equivariance is not accuracy: a rule that always keeps the wrong view, or a constant, has error
    0. Compare accuracies too.

    Args:
        model: f, maps [B, ...] to a tensor [B, ...], or to a tree of such. Arguments that the group
            does not move are bound to it: lambda x: model(x, attention_mask=mask).
        x: A batch of inputs, [B, ...].
        action_in: How the group acts on inputs.
        action_out: How the same group acts on outputs: an action, or a tree of actions, as
            `Equivariant` takes it.

    Returns:
        For real outputs max_g max |f(gx) - g f(x)| / max |f(x)|, where equal infinities differ by
        nothing and the divisor is the largest finite entry; NaN if an output is NaN. For integer
        outputs the largest share, over g, of samples with any mismatch. For a tree, the largest
        number of its tensors.

    Raises:
        TypeError: If x is no tensor, or f returns something else than tensors.
        ValueError: If the groups of the actions differ, a part of the output has no action, the
            batch is empty, or f does not return one output per input.
    """
    check_function("model", model, "a torch.nn.Module")
    check_actions(action_in, action_out=action_out)
    check_input(x)
    if x.shape[0] == 0:
        raise ValueError(f"the input needs at least one sample, got shape {tuple(x.shape)}")
    output = check_output(model(x), len(x), "inputs")
    errors = []
    for g in action_in.group.elements:
        expected = move_tree(partial(_act, g), action_out, output)
        actual = leaves(model(action_in.act(g, x)), "output")
        pairs = zip(actual, leaves(expected, "output"), leaves(output, "output"), strict=True)
        for (path, one), (_, other), (_, upright) in pairs:
            if one.shape != other.shape:
                raise ValueError(
                    f"f(gx) has shape {tuple(one.shape)} and g f(x) {tuple(other.shape)} "
                    f"for g={g}" + ("" if path == "output" else f" as {path}")
                )
            errors.append(_error(one, other, upright))
    return float(torch.stack(errors).max())


def _act(g: int, action: Action, y: Tensor) -> Tensor:
    return action.act(g, y)


def _error(actual: Tensor, expected: Tensor, output: Tensor) -> Tensor:
    """Return the relative error of real tensors, or the share of samples that differ."""
    if not (output.is_floating_point() or output.is_complex()):
        return _mismatch(actual, expected)
    return (_distance(actual, expected) / _size(output)).double()


def _distance(actual: Tensor, expected: Tensor) -> Tensor:
    difference = (actual - expected).abs()
    return difference.masked_fill(actual == expected, 0.0).max()


def _mismatch(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual != expected).reshape(len(actual), -1).any(dim=1).double().mean()


def _size(output: Tensor) -> Tensor:
    finite = output.abs().masked_fill(~torch.isfinite(output), 0.0)
    return finite.max().clamp(min=torch.finfo(finite.dtype).tiny)
