"""Combining views (Eq. 4) after g^-1: averaging, selection, straight-through gradients."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, no_type_check

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from equitune.kinds import check_tensor, described
from equitune.trees import map_tree

Ties = Literal["first", "average"]


class Selected(NamedTuple):
    """The result of `select`.

    Attributes:
        value: The chosen views, a tree like the input with leaves [B, ...].
        index: The group element that minimises the loss, int64, [B].
    """

    value: Any
    index: Int[Tensor, " batch"]  # type: ignore[assignment]  # hides tuple.index on purpose


def average(
    y: Shaped[Tensor, "group batch ..."], weights: Shaped[Tensor, "group ..."] | None = None
) -> Shaped[Tensor, "batch ..."]:
    """Return the weighted mean over the group, sum_g w_g y_g / sum_g w_g (Eq. 4; Eq. 1 if uniform).

    Weights are normalised over the group first. A view of weight exactly zero contributes nothing,
    forward and backward, whatever it holds (infinity and NaN included). With one view the result is
    that view, bit for bit. Half precision is summed in float32.

    Args:
        y: Views already carried back by `Action.undo`, floating point, [G, B, ...].
        weights: Weights lambda(gx) of the first dims of y: [G, B] for one per view, [G, B, T] for
            one per token, up to the full shape of y; a size of 1 broadcasts. None means uniform
            (equitune), the default. Precondition, not checked because that would stop a GPU on
            every call: no weight is negative and not all are zero; otherwise the result is NaN or
            no mean. Their sum must be finite.

    Returns:
        The mean, [B, ...], in the dtype of y.

    Raises:
        TypeError: If y is not floating point.
        ValueError: If y lacks the group or batch dim, or the shape of the weights does not fit y.
    """
    check_tensor("y", y)
    if not (y.is_floating_point() or y.is_complex()):
        raise TypeError(f"average needs floating point views, got {y.dtype}; use select instead")
    if y.ndim < 2 or y.shape[0] == 0:
        raise ValueError(f"average expects [group, batch, ...], got shape {tuple(y.shape)}")
    if weights is not None:
        _check_weights(y, weights)
    if y.shape[0] == 1:
        return y[0]
    if weights is None:
        return y.mean(dim=0)
    dtype = torch.promote_types(torch.promote_types(y.dtype, weights.dtype), torch.float32)
    padded = weights.to(_real(dtype)).reshape(*weights.shape, *[1] * (y.ndim - weights.ndim))
    normalised = padded / padded.sum(dim=0, keepdim=True)
    # Only non-finite entries are masked: a finite one still has a gradient to its zero weight.
    unused = (normalised == 0) & ~torch.isfinite(y)
    return (y.masked_fill(unused, 0) * normalised).sum(dim=0).to(y.dtype)


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.empty((), dtype=dtype).real.dtype if dtype.is_complex else dtype


def _check_weights(y: Tensor, weights: Tensor) -> None:
    check_tensor("weights", weights)
    fits = 1 <= weights.ndim <= y.ndim and weights.shape[0] == y.shape[0]
    pairs = zip(weights.shape[1:], y.shape[1:], strict=False)
    if not fits or any(w not in (1, size) for w, size in pairs):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} do not fit views of shape {tuple(y.shape)}: "
            "they must match its first dims (or be 1 there), beginning with the group"
        )


def select(
    y: Any,
    loss: Shaped[Tensor, "group batch"],
    ties: Ties = "first",
    tolerance: float = 0.0,
) -> Selected:
    """Return the view of least proxy loss, g* = argmin_g l(M(gx)) (Eq. 2, equizero).

    Entries are gathered, never multiplied, so infinities elsewhere do no harm. A NaN loss is never
    chosen unless all of a sample's losses are NaN. The result is equivariant with ties="average"
    always, with ties="first" only where the minimiser is unique, as Eq. 2 assumes.

    Args:
        y: A tensor [G, B, ...], or a tuple, list, dict or dataclass of such (nested at will; None
            is kept). Integers are fine with ties="first".
        loss: Proxy loss of each view, lower is better, [G, B].
        ties: "first" takes the lowest element index among the minimisers (default), "average" the
            uniform mean of all of them.
        tolerance: With ties="average", losses this close to the least count as ties. Default 0.

    Returns:
        `Selected(value, index)`: the chosen tree with leaves [B, ...] and the first minimiser [B].

    Raises:
        TypeError: If a leaf is not a tensor, or ties="average" meets integers.
        ValueError: If ties is unknown, tolerance is negative, or a leaf does not begin with [G, B].
    """
    if ties not in ("first", "average"):
        raise ValueError(f"ties={ties!r} is unknown: choose 'first' or 'average'")
    if not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance} must not be negative")
    _check_shape(loss)
    if not loss.is_floating_point():
        loss = loss.to(torch.get_default_dtype())
    unknown = torch.isnan(loss)
    least = loss.masked_fill(unknown, torch.inf).amin(dim=0)
    # Not argmin itself: it prefers NaN, which equals nothing.
    index = (loss == least).to(torch.uint8).argmax(dim=0)
    if ties == "first":
        return Selected(map_tree(lambda leaf: _pick(leaf, loss, index), y), index)
    tied = (loss <= least + tolerance) | unknown.all(dim=0)
    weights = tied.to(loss.dtype)
    return Selected(map_tree(lambda leaf: _mean_of_tied(leaf, loss, weights), y), index)


def _check_leaf(leaf: Tensor, loss: Tensor) -> None:
    if leaf.shape[:2] != loss.shape:
        raise ValueError(
            f"views of shape {tuple(leaf.shape)} do not begin with the loss's "
            f"[group, batch] = {list(loss.shape)}"
        )


def _pick(leaf: Tensor, loss: Tensor, index: Tensor) -> Tensor:
    _check_leaf(leaf, loss)
    where = index.view(1, -1, *[1] * (leaf.ndim - 2)).expand(1, *leaf.shape[1:])
    return leaf.gather(0, where).squeeze(0)


def _mean_of_tied(leaf: Tensor, loss: Tensor, weights: Tensor) -> Tensor:
    _check_leaf(leaf, loss)
    if not (leaf.is_floating_point() or leaf.is_complex()):
        raise TypeError(f"ties='average' needs floating point views, got {leaf.dtype}")
    return average(leaf, weights)


def _check_shape(loss: Tensor) -> None:
    check_tensor("loss", loss)
    if loss.ndim != 2 or loss.shape[0] == 0:
        raise ValueError(f"loss must have shape [group, batch], got {tuple(loss.shape)}")


def soft_select_weights(
    loss: Float[Tensor, "group batch"], temperature: float
) -> Float[Tensor, "group batch"]:
    """Return softmax_g(-loss / temperature): weights that tend to `select` as temperature -> 0.

    A NaN or +inf loss gets weight zero; if all of a sample's losses are such, weights are uniform.
    Losses of -inf share all the weight.

    Args:
        loss: Proxy loss of each view, lower is better, [G, B].
        temperature: Positive; in the unit of the loss.

    Returns:
        Weights that sum to one over the group, [G, B].

    Raises:
        ValueError: If temperature is not positive, or the loss has another shape.
    """
    check_temperature(temperature)
    _check_shape(loss)
    hopeless = torch.isnan(loss) | (loss == torch.inf)
    least = loss.masked_fill(hopeless, torch.inf).amin(dim=0)
    # Relative to the least loss, so that neither -inf nor a tiny temperature leaves inf - inf or
    # 0 / 0: one below the precision of the loss is that of an equizero.
    scores = (-(loss - least) / temperature).masked_fill(loss == least, 0.0)
    scores = scores.masked_fill(hopeless, -torch.inf)
    scores = scores.masked_fill(hopeless.all(dim=0), 0.0)
    return torch.softmax(scores, dim=0)


def check_temperature(temperature: float) -> None:
    """Raise TypeError unless a temperature is a number, and ValueError unless it is positive."""
    if isinstance(temperature, str) or callable(temperature):
        raise TypeError(f"temperature must be a number, got {described(temperature)}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be positive")


# no_type_check: torch.compile cannot trace the shape checks of tests through static methods.
@no_type_check
class _StraightThrough(torch.autograd.Function):
    """Default form: a sixth of the overhead of the other, but torch.func rejects it."""

    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        """Return the value of hard."""
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Give the gradient to soft."""
        return None, gradient


@no_type_check
class _TransformedStraightThrough(_StraightThrough):
    """Form for torch.func; slower, as PyTorch inspects its signature in every call."""

    generate_vmap_rule = True

    @staticmethod
    def forward(hard: Tensor, soft: Tensor) -> Tensor:  # type: ignore[override]
        """Return the value of hard."""
        return hard.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is needed for backward."""


def straight_through(
    hard: Shaped[Tensor, "*shape"], soft: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "*shape"]:
    """Return the value of hard with the gradient of soft (Section 3.2, last paragraph).

    The paper writes soft + (hard - soft).detach(), with soft = M(x) or, slightly better,
    soft = M_G(x). This form equals hard exactly and stays finite where both hold infinities.

    Args:
        hard: The selected output, any shape, floating point.
        soft: The differentiable stand-in, same shape.

    Returns:
        A tensor equal to hard; gradients flow to soft only.

    Raises:
        TypeError: If one of the two is not floating point.
        ValueError: If the shapes differ.
    """
    for name, value in (("hard", hard), ("soft", soft)):
        check_tensor(name, value)
        if not (value.is_floating_point() or value.is_complex()):
            raise TypeError(f"straight_through needs floating point tensors, got {value.dtype}")
    if hard.shape != soft.shape:
        raise ValueError(
            f"straight_through needs equal shapes, got hard {tuple(hard.shape)} "
            f"and soft {tuple(soft.shape)}"
        )
    transformed = torch._C._are_functorch_transforms_active()
    function = _TransformedStraightThrough if transformed else _StraightThrough
    result: Tensor = function.apply(hard, soft.to(hard.dtype))
    return result
