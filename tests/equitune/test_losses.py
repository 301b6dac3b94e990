"""Proxy losses against their formulas, and where the plain formulas fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equitune.averaging import select
from equitune.losses import entropy, max_probability, max_score


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)


SHAPES = [(3, 2, 5), (3, 2, 4, 5), (2, 1, 2, 3, 4), (2, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_formulas(shape: tuple[int, ...]) -> None:
    logits = random(*shape)
    p = logits.softmax(-1).reshape(*shape[:2], -1, shape[-1])
    best = p.amax(-1).mean(-1)
    torch.testing.assert_close(max_probability(logits), -best)
    torch.testing.assert_close(entropy(logits), -(p * p.log()).sum(-1).mean(-1))
    scores = logits.reshape(*shape[:2], -1, shape[-1]).amax(-1).mean(-1)
    torch.testing.assert_close(max_score(logits), -scores)
    odds = max_probability(logits, log_odds=True)
    torch.testing.assert_close(odds, ((1 - best) / best).log())


LOSSES: list[Callable[..., Tensor]] = [
    max_probability,
    partial(max_probability, log_odds=True),
    entropy,
    max_score,
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dim", [-2, -3])
def test_classes_may_lie_along_any_dim_behind_the_batch(
    loss: Callable[..., Tensor], dim: int
) -> None:
    maps = random(4, 2, 3, 5, 6)
    mask = random(4, 2, 3, 5) > 0
    torch.testing.assert_close(loss(maps.movedim(-1, dim), dim=dim), loss(maps))
    masked = loss(maps.movedim(-1, dim), mask=mask, dim=dim)
    torch.testing.assert_close(masked, loss(maps, mask=mask))


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_one_class_is_refused_since_every_view_is_certain_of_it(
    loss: Callable[..., Tensor],
) -> None:
    with pytest.raises(ValueError, match=r"one class along dim -1 .* of one logit z make two"):
        loss(random(4, 2, 1))
    with pytest.raises(ValueError, match="one class along dim -3"):
        loss(random(4, 2, 1, 5, 5), dim=-3)
    z = random(4, 2, 1)
    two = torch.cat([torch.zeros_like(z), z], dim=-1)
    certain = z.abs().argmax(dim=0).flatten()
    assert torch.equal(select(loss(two), loss(two)).index, certain)


@pytest.mark.parametrize("loss", [max_probability, entropy])
def test_logits_and_log_probabilities_give_the_same(loss: Callable[[Tensor], Tensor]) -> None:
    logits = random(3, 2, 4, 5)
    torch.testing.assert_close(loss(logits.log_softmax(-1)), loss(logits))
    torch.testing.assert_close(loss(logits + 100), loss(logits))


@given(seed=st.integers(0, 2**16), steps=st.integers(0, 3), classes=st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_log_odds_choose_the_same_view(seed: int, steps: int, classes: int) -> None:
    logits = random(4, 3, *([steps] if steps else []), classes, seed=seed)
    plain, odds = max_probability(logits), max_probability(logits, log_odds=True)
    assert torch.equal(select(plain, plain).index, select(odds, odds).index)


@pytest.mark.parametrize("steps", [0, 2])
def test_log_odds_do_not_saturate(steps: int) -> None:
    logits = torch.tensor([[[40.0, 0.0, 0.0]], [[50.0, 0.0, 0.0]], [[200.0, 0.0, 0.0]]])
    if steps:
        logits = logits.unsqueeze(2).expand(3, 1, steps, 3)
    assert max_probability(logits).unique().numel() == 1
    odds = max_probability(logits, log_odds=True).flatten()
    torch.testing.assert_close(odds, math.log(2) - torch.tensor([40.0, 50.0, 200.0]))


def test_forbidden_classes_do_no_harm() -> None:
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]], requires_grad=True)
    for loss in (max_probability(logits), entropy(logits), max_probability(logits, log_odds=True)):
        (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()
    assert max_probability(logits).item() == pytest.approx(-0.5)
    assert entropy(logits).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "loss",
    [max_probability, lambda x, mask: max_probability(x, True, mask), entropy, max_score],
)
def test_mask_leaves_out_steps_whatever_they_hold(
    loss: Callable[..., Tensor],
) -> None:
    logits = random(2, 2, 3, 4)
    mask = torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]], dtype=torch.bool)
    result = loss(logits.masked_fill(~mask[..., None], math.nan), mask=mask)
    torch.testing.assert_close(result[0, :1], loss(logits[:1, :1, :2], mask=None)[0])
    torch.testing.assert_close(result[0, 1:], loss(logits[:1, 1:, :1], mask=None)[0])
    torch.testing.assert_close(result[1, :1], loss(logits[1:, :1], mask=None)[0])
    assert math.isnan(result[1, 1])


@pytest.mark.parametrize("loss", [max_probability, entropy, max_score])
def test_order_of_classes_does_not_matter(loss: Callable[[Tensor], Tensor]) -> None:
    """So permuted outputs tie: the losses are not injective."""
    logits = random(3, 2, 5)
    torch.testing.assert_close(loss(logits[..., torch.tensor([3, 1, 4, 0, 2])]), loss(logits))


@pytest.mark.parametrize("loss", [max_probability, entropy, max_score])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_float32(
    loss: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    logits = random(3, 2, 5).to(dtype)
    assert loss(logits).dtype == torch.float32
    assert torch.equal(loss(logits), loss(logits.float()))


@pytest.mark.parametrize("log_odds", [True, False])
def test_gradients(log_odds: bool) -> None:
    logits = random(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: max_probability(x, log_odds), (logits,))
    assert torch.autograd.gradcheck(entropy, (logits,))
    assert torch.autograd.gradcheck(max_score, (logits,))


@pytest.mark.parametrize("loss", [max_probability, entropy, max_score])
@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_value(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=r"\[group, batch, ..., classes\], got shape \(3, 2\)"):
        loss(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"got shape \(3, 2, 0\)"):
        loss(torch.zeros(3, 2, 0))
    with pytest.raises(ValueError, match=r"classes \(dim -3\), ...\], got shape \(3, 2, 4, 5\)"):
        loss(torch.zeros(3, 2, 4, 5), dim=-3)
    with pytest.raises(ValueError, match="dim=2 must be negative"):
        loss(torch.zeros(3, 2, 4, 5), dim=2)
    with pytest.raises(ValueError, match=r"mask of shape \(3, 2\) must match the steps \(3, 2, 5"):
        loss(torch.zeros(3, 2, 5, 4), mask=torch.ones(3, 2, dtype=torch.bool))
