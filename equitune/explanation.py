"""What a rule chose for every sample, and how sure the choice is."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from equitune.groups import FiniteGroup
from equitune.rules import Weighed
from equitune.trees import map_tree


class Explanation(NamedTuple):
    """The result of `Equivariant.explain`.

    Where lambda has one weight per token, [G, B, T], all but the output and the spread have the
    dim T too.

    Attributes:
        output: M_G(x), as `forward` gives it.
        weights: lambda(gx) of every view, normalised: they sum to 1 over the group, [G, B].
        scores: What the rule ranks the views by, higher is better, [G, B]: minus the proxy loss of
            `Select` and `SoftSelect`, the weights of other rules.
        best: The element g of the view with the best score, int64, [B]; the first of equals.
        moved_by: Its inverse, int64, [B]. x is moved_by times the best view: where the best view of
            an image is the upright one, this is by how much the image was turned.
        margin: The best score minus the second, [B]: 0 for a tie, infinite for one view alone. It
            is in the unit of the scores.
        spread: How much the carried-back views g^-1 M(gx) differ: the root of their mean squared
            distance from their plain mean, over the entries of each sample, [B]. It is in the unit
            of the output, and 0 where M is equivariant at x. A tree of such for a tree of outputs.
    """

    output: Any
    weights: Float[Tensor, "group batch ..."]
    scores: Shaped[Tensor, "group batch ..."]
    best: Int[Tensor, "batch ..."]
    moved_by: Int[Tensor, "batch ..."]
    margin: Shaped[Tensor, "batch ..."]
    spread: Any


def explain(weighed: Weighed, undone: Any, group: FiniteGroup) -> Explanation:
    """Return the explanation of a rule's result for the views carried back, `undone`."""
    scores = weighed.scores.masked_fill(weighed.scores.isnan(), -torch.inf)
    # Not argmax, which need not give the first of equals.
    best = (scores == scores.amax(dim=0)).to(torch.uint8).argmax(dim=0)
    return Explanation(
        weighed.output,
        weighed.weights,
        weighed.scores,
        best,
        group.inverses.to(best.device)[best],
        _margin(scores),
        map_tree(_spread, undone),
    )


def _margin(scores: Tensor) -> Tensor:
    if len(scores) == 1:
        return torch.full_like(scores[0], torch.inf)
    first, second = scores.topk(2, dim=0).values
    return torch.where(first == second, 0, first - second)


def _spread(views: Tensor) -> Tensor:
    """Return the spread of views [G, B, ...] of any dtype, [B]."""
    if not views.is_complex():
        views = views.to(torch.promote_types(views.dtype, torch.float32))
    views = views.reshape(*views.shape[:2], -1)
    return (views - views.mean(dim=0)).abs().square().mean(dim=(0, 2)).sqrt()
