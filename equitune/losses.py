"""Proxy losses l(M(gx)) that say which view equizero keeps (Eq. 2); lower is better.

All take raw outputs M(gx), [G, B, ..., C], before g^-1, and return one loss per view, [G, B]. The
classes are the last dim, or the one that `dim` names: -3 for maps of classes, [G, B, C, H, W]. The
other dims behind the batch, such as time or places, are averaged. The losses ignore the order of
the classes, so they are not injective: two views with permuted outputs tie.
See `equitune.averaging.select` for ties.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from equitune.actions.base import check_dim


def max_probability(
    logits: Float[Tensor, "group batch ..."],
    log_odds: bool = False,
    mask: Bool[Tensor, "group batch ..."] | None = None,
    dim: int = -1,
) -> Float[Tensor, "group batch"]:
    """Return minus the largest softmax probability (SCAN, CNN, and DQN by Section C.1).

    Confident models round to probability 1, and views that differ then tie. With log_odds=True the
    loss is log((1 - P) / P) with P the (mean) largest probability: it orders views exactly as -P
    does, but it does not saturate.

    Args:
        logits: Logits, or log-probabilities, whose softmax is the same, [G, B, ..., C].
        log_odds: Return the form that does not saturate. Default False.
        mask: True at the steps that count (those a decoder emitted), [G, B, ...]. Default: all.
        dim: The dim of the classes, negative. Default -1.

    Returns:
        The loss, in [-1, -1/C] or as log odds, [G, B]; NaN for a view whose mask is empty. Float32
        for half precision.

    Raises:
        ValueError: If logits lack a class dim, or have one class, of which every view is certain;
            if the mask's shape is not that of the steps, or dim is not negative.
    """
    logits = _classes_last(logits, mask, dim, least=2)
    largest, index = logits.max(dim=-1, keepdim=True)
    if not log_odds:
        log_probability = largest.squeeze(-1) - logits.logsumexp(dim=-1)
        return _mean_over_steps(-log_probability.exp(), mask)
    others = logits.scatter(-1, index, -torch.inf)
    odds = others.logsumexp(dim=-1) - largest.squeeze(-1)
    if odds.ndim == 2 and mask is None:
        return odds
    # log(mean(1 - p) / mean(p)); the number of steps cancels.
    return _log_sum_over_steps(functional.logsigmoid(odds), mask) - _log_sum_over_steps(
        functional.logsigmoid(-odds), mask
    )


def entropy(
    logits: Float[Tensor, "group batch ..."],
    mask: Bool[Tensor, "group batch ..."] | None = None,
    dim: int = -1,
) -> Float[Tensor, "group batch"]:
    """Return the entropy of the softmax, in nats (the second loss of the CNN task, Section 4.2).

    Args:
        logits: Logits, or log-probabilities, whose softmax is the same, [G, B, ..., C].
        mask: True at the steps that count, [G, B, ...]. Default: all.
        dim: The dim of the classes, negative. Default -1.

    Returns:
        The entropy, in [0, log C], averaged over steps, [G, B]; NaN for a view whose mask is empty.
        Float32 for half precision.

    Raises:
        ValueError: If logits lack a class dim, or have one class, of which every view is certain;
            if the mask's shape is not that of the steps, or dim is not negative.
    """
    logits = _classes_last(logits, mask, dim, least=2)
    log_probabilities = logits.log_softmax(dim=-1)
    # p log p is 0 at p = 0, but 0 * -inf is NaN.
    finite = log_probabilities.masked_fill(log_probabilities == -torch.inf, 0.0)
    return _mean_over_steps(-(log_probabilities.exp() * finite).sum(dim=-1), mask)


def max_score(
    scores: Float[Tensor, "group batch ..."],
    mask: Bool[Tensor, "group batch ..."] | None = None,
    dim: int = -1,
) -> Float[Tensor, "group batch"]:
    """Return minus the largest raw score (CLIP's image-text similarity; DQN's raw Q-values).

    Unlike `max_probability` it compares views on one absolute scale, so a single view with inflated
    scores always wins; Section C.1 normalises Q-values by softmax for that reason.

    Args:
        scores: Scores, higher is better, [G, B, ..., C].
        mask: True at the steps that count, [G, B, ...]. Default: all.
        dim: The dim of the scores, negative. Default -1.

    Returns:
        The loss, averaged over steps, [G, B]; NaN for a view whose mask is empty. Float32 for half
        precision.

    Raises:
        ValueError: If scores lack a class dim, the mask's shape is not that of the steps, or dim is
            not negative.
    """
    scores = _classes_last(scores, mask, dim, least=1)
    return _mean_over_steps(-scores.amax(dim=-1), mask)


def energy(
    logits: Float[Tensor, "group batch ..."],
    mask: Bool[Tensor, "group batch ..."] | None = None,
    dim: int = -1,
) -> Float[Tensor, "group batch"]:
    """Return the free energy, minus the log of the sum of exp(logits) (Liu et al., NeurIPS 2020).

    Like `max_score` it compares views on one absolute scale. It needs logits: log-probabilities
    all have energy 0.

    Args:
        logits: Logits, [G, B, ..., C].
        mask: True at the steps that count, [G, B, ...]. Default: all.
        dim: The dim of the classes, negative. Default -1.

    Returns:
        The loss, averaged over steps, [G, B]; NaN for a view whose mask is empty. Float32 for half
        precision.

    Raises:
        ValueError: If logits lack a class dim, the mask's shape is not that of the steps, or dim is
            not negative.
    """
    logits = _classes_last(logits, mask, dim, least=1)
    return _mean_over_steps(-logits.logsumexp(dim=-1), mask)


def _classes_last(logits: Tensor, mask: Tensor | None, dim: int, least: int) -> Tensor:
    """Return logits as [G, B, ..., C], at least in float32, once they and the mask are checked."""
    check_dim(dim)
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"a proxy loss reads one tensor, got {type(logits).__name__}; choose a part: "
            "Select(lambda output: losses.entropy(output['logits']))"
        )
    if logits.ndim < 2 - dim or logits.shape[dim] == 0:
        expected = "classes" if dim == -1 else f"classes (dim {dim}), ..."
        raise ValueError(
            f"a proxy loss expects [group, batch, ..., {expected}], got shape {tuple(logits.shape)}"
        )
    if logits.shape[dim] < least:
        raise ValueError(
            f"one class along dim {dim} of shape {tuple(logits.shape)}: every view is certain of "
            "it, so none is better; of one logit z make two, torch.cat([torch.zeros_like(z), z], "
            f"dim={dim})"
        )
    logits = logits.movedim(dim, -1)
    if mask is not None and mask.shape != logits.shape[:-1]:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} must match the steps {tuple(logits.shape[:-1])}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _mean_over_steps(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values if values.ndim == 2 else values.flatten(2).mean(dim=2)
    # masked_fill, not a product: a step that does not count may hold anything.
    total = values.masked_fill(~mask, 0.0).sum(dim=tuple(range(2, values.ndim)))
    count = mask.sum(dim=tuple(range(2, values.ndim)))
    return (total / count.clamp(min=1)).masked_fill(count == 0, torch.nan)


def _log_sum_over_steps(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        values = values.masked_fill(~mask, -torch.inf)
    return values.unsqueeze(-1).flatten(2).logsumexp(dim=2)
