"""Average, selection and straight-through, against loops and known values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equitune.averaging import average, select, soft_select_weights, straight_through

INF, NAN = math.inf, math.nan


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(1, 3), st.integers(1, 3)),
    depth=st.integers(1, 4),
    narrow=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=50, deadline=None)
def test_average_matches_the_sum_of_eq_4(
    sizes: tuple[int, ...], depth: int, narrow: bool, seed: int
) -> None:
    y = random(*sizes, seed=seed)
    shape = list(sizes[:depth])
    if narrow and depth > 1:
        shape[-1] = 1
    weights = random(*shape, seed=seed + 1).abs() + 0.01
    padded = weights.reshape(*shape, *[1] * (4 - depth)).expand(sizes)
    expected = sum(padded[g] * y[g] for g in range(sizes[0])) / padded.sum(dim=0)
    torch.testing.assert_close(average(y, weights), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(average(y, 7 * weights), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(average(y), y.mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weight", [None, 1e-30, 3.0])
def test_one_view_is_returned_bit_for_bit(dtype: torch.dtype, weight: float | None) -> None:
    y = random(1, 64, 3).to(dtype)
    y[0, 0] = torch.tensor([INF, -INF, -0.0])
    weights = None if weight is None else torch.full((1, 64), weight)
    assert torch.equal(average(y, weights), y[0])
    assert torch.signbit(average(y, weights)[0, 2])


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_zero_weight_hides_what_is_not_finite(value: float) -> None:
    y = random(3, 2, 4)
    y[1, 0] = value
    y.requires_grad_()
    weights = torch.tensor([[1.0, 1.0], [0.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    weights.requires_grad_()
    result = average(y, weights)
    torch.testing.assert_close(result[0], (y[0, 0] + 3 * y[2, 0]) / 4)
    result.sum().backward()
    assert y.grad is not None and weights.grad is not None
    assert torch.isfinite(y.grad).all()
    assert torch.isfinite(weights.grad).all()
    assert torch.equal(y.grad[1, 0], torch.zeros(4, dtype=torch.float64))
    assert y.grad[2, 0, 0] == 0.75


def test_positive_weight_keeps_minus_infinity_and_gradients_to_views() -> None:
    """Log-probabilities: a word that one branch forbids is forbidden in the mean."""
    y = torch.tensor([[[0.0, -INF]], [[1.0, 2.0]]], requires_grad=True)
    result = average(y, torch.tensor([[1.0], [3.0]]))
    assert result.tolist() == [[0.75, -INF]]
    result[:, 0].sum().backward()
    assert y.grad is not None
    assert y.grad[:, 0, 0].tolist() == [0.25, 0.75]


def test_gradients_of_average_with_a_zero_weight() -> None:
    weights = torch.tensor([[0.0, 2.0], [1.0, 0.5], [2.0, 1.0]], dtype=torch.float64)
    y = random(3, 2, 2).requires_grad_()
    # One-sided differences at zero would leave the domain of positive weights only formally.
    assert torch.autograd.gradcheck(average, (y, weights.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    y = torch.full((8, 2), 60000.0).to(dtype)
    weights = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    for result in (average(y), average(y, weights), average(y, weights.to(dtype))):
        assert result.dtype == dtype
        assert torch.equal(result, y[0])


def test_selected_trees_are_gathered() -> None:
    class Pair(NamedTuple):
        left: Tensor
        right: Any

    loss = torch.tensor([[3.0, 1.0], [2.0, 5.0], [4.0, 4.0]])
    ids = torch.arange(6).view(3, 2)
    deep = torch.arange(24.0).view(3, 2, 2, 2)
    tree = {"a": [ids, None], "b": Pair(deep, (ids.to(torch.int8), ids > 2))}
    value, index = select(tree, loss)
    assert index.tolist() == [1, 0]
    assert value["a"][0].tolist() == [2, 1]
    assert value["a"][1] is None
    assert isinstance(value["b"], Pair)
    assert torch.equal(value["b"].left, torch.stack([deep[1, 0], deep[0, 1]]))
    assert value["b"].right[0].dtype == torch.int8
    assert value["b"].right[1].tolist() == [False, False]


def test_select_never_takes_nan_unless_all_are() -> None:
    loss = torch.tensor([[NAN, NAN, NAN, 0.0], [1.0, INF, NAN, NAN], [2.0, 3.0, NAN, -INF]])
    assert select(loss, loss).index.tolist() == [1, 2, 0, 2]
    only_infinite = torch.tensor([[NAN], [INF], [INF]])
    assert select(only_infinite, only_infinite).index.tolist() == [1]


def test_select_takes_the_first_of_equals() -> None:
    loss = torch.tensor([[2.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert select(loss, loss).index.tolist() == [1, 0]


def test_select_average_of_ties() -> None:
    y = torch.tensor([[[1.0], [INF]], [[3.0], [5.0]], [[NAN], [6.0]]])
    loss = torch.tensor([[0.5, 9.0], [0.5, 2.0], [0.6, 2.05]])
    result = select(y, loss, ties="average")
    assert result.value.tolist() == [[2.0], [5.0]]
    assert result.index.tolist() == [0, 1]
    assert select(y, loss, ties="average", tolerance=0.06).value.tolist() == [[2.0], [5.5]]


def test_select_average_when_every_loss_is_nan_is_uniform() -> None:
    loss = torch.full((2, 1), NAN)
    result = select(torch.tensor([[1.0], [2.0]]), loss, ties="average")
    assert result.value.tolist() == [1.5]


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5)),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=50, deadline=None)
def test_select_matches_a_loop(sizes: tuple[int, int], levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    loss = torch.randint(levels, sizes, generator=generator).double()
    y = random(*sizes, 3, seed=seed)
    first, averaged = select(y, loss), select(y, loss, ties="average")
    for b in range(sizes[1]):
        column = loss[:, b].tolist()
        best = [g for g in range(sizes[0]) if column[g] == min(column)]
        assert first.index[b] == averaged.index[b] == best[0]
        assert torch.equal(first.value[b], y[best[0], b])
        torch.testing.assert_close(averaged.value[b], y[best, b].mean(0), rtol=0, atol=1e-12)


def test_gradient_of_select_reaches_the_chosen_view_only() -> None:
    y = random(3, 2, 2)
    y[0, 0] = INF
    y.requires_grad_()
    loss = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    select(y, loss).value.sum().backward()
    assert y.grad is not None
    assert y.grad[..., 0].tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]


def test_soft_select_tends_to_select() -> None:
    loss = random(4, 5)
    one_hot = torch.nn.functional.one_hot(select(loss, loss).index, 4).T.double()
    torch.testing.assert_close(soft_select_weights(loss, 1e-4), one_hot)
    hot = soft_select_weights(loss, 1e6)
    torch.testing.assert_close(hot, torch.full_like(hot, 0.25), rtol=1e-4, atol=0)
    weights = soft_select_weights(loss, 0.5)
    torch.testing.assert_close(weights[1] / weights[0], ((loss[0] - loss[1]) / 0.5).exp())


def test_soft_select_of_hopeless_views() -> None:
    loss = torch.tensor([[NAN, INF], [1.0, NAN], [1.0, INF]], requires_grad=True)
    weights = soft_select_weights(loss, 1.0)
    torch.testing.assert_close(weights[:, 0], torch.tensor([0.0, 0.5, 0.5]))
    torch.testing.assert_close(weights[:, 1], torch.full((3,), 1 / 3))
    weights[1].sum().backward()
    assert loss.grad is not None
    assert torch.isfinite(loss.grad).all()


def test_straight_through_has_the_value_of_hard_and_the_gradient_of_soft() -> None:
    theta = random(3, 2).requires_grad_()
    hard = random(3, 2, seed=1).requires_grad_()
    factor = random(3, 2, seed=2)

    def soft(parameter: Tensor) -> Tensor:
        return (parameter.sin() * parameter.sum()).exp()

    (expected,) = torch.autograd.grad((soft(theta) * factor).sum(), theta)
    result = straight_through(hard, soft(theta))
    assert torch.equal(result, hard)
    got = torch.autograd.grad((result * factor).sum(), (theta, hard), allow_unused=True)
    assert torch.equal(got[0], expected)
    assert got[1] is None


def test_straight_through_equals_the_papers_form_where_that_is_finite() -> None:
    theta = random(4).requires_grad_()
    hard = random(4, seed=1)

    def loss(combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return combine(hard, theta.tanh()).pow(3).sum()

    (paper,) = torch.autograd.grad(loss(lambda h, s: s + (h - s).detach()), theta)
    (ours,) = torch.autograd.grad(loss(straight_through), theta)
    torch.testing.assert_close(ours, paper)


def test_straight_through_with_infinities() -> None:
    soft = torch.tensor([-INF, 1.0, INF], requires_grad=True)
    hard = torch.tensor([-INF, -INF, 2.0])
    result = straight_through(hard, soft)
    assert torch.equal(result, hard)
    result.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert soft.grad is not None
    assert soft.grad.tolist() == [1.0, 2.0, 3.0]


def test_straight_through_under_vmap_and_twice() -> None:
    hard, soft = random(3, 2), random(3, 2, seed=1)
    gradients = torch.func.vmap(
        torch.func.grad(lambda s, h: straight_through(h, s**2).pow(2).sum())
    )(soft, hard)
    torch.testing.assert_close(gradients, 2 * hard * 2 * soft)
    theta = random(2).requires_grad_()
    (once,) = torch.autograd.grad(
        straight_through(hard[0], theta**3).sum(), theta, create_graph=True
    )
    (twice,) = torch.autograd.grad(once.sum(), theta)
    torch.testing.assert_close(twice, 6 * theta)


def test_straight_through_casts_the_gradient_to_soft() -> None:
    soft = torch.ones(2, dtype=torch.float32, requires_grad=True)
    result = straight_through(torch.zeros(2, dtype=torch.bfloat16), soft)
    assert result.dtype == torch.bfloat16
    result.sum().backward()
    assert soft.grad is not None and soft.grad.dtype == torch.float32


Y, LOSS = torch.zeros(3, 2, 4), torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: average(Y.long()), TypeError, "floating point views, got torch.int64"),
        (lambda: average(Y[0, 0]), ValueError, r"\[group, batch, ...\], got shape \(4,\)"),
        (lambda: average(Y[:0]), ValueError, r"got shape \(0, 2, 4\)"),
        (lambda: average(Y, torch.ones(2, 2)), ValueError, r"weights of shape \(2, 2\)"),
        (lambda: average(Y, torch.ones(3, 4)), ValueError, r"\(3, 4\) do not fit .* \(3, 2, 4\)"),
        (lambda: average(Y, torch.ones(3, 2, 4, 1)), ValueError, r"shape \(3, 2, 4, 1\)"),
        (lambda: average(Y, torch.tensor(1.0)), ValueError, r"weights of shape \(\)"),
        (lambda: average(Y, torch.ones(1, 2)), ValueError, r"weights of shape \(1, 2\)"),
        (lambda: select(Y, LOSS, "last"), ValueError, "'last' is unknown: choose 'first' or"),
        (lambda: select(Y, LOSS, tolerance=-1), ValueError, "tolerance=-1 must not be negative"),
        (lambda: select(Y, LOSS[:, 0]), ValueError, r"loss must have .* got \(3,\)"),
        (lambda: select(Y[:, :1], LOSS), ValueError, r"\(3, 1, 4\) do not begin .* \[3, 2\]"),
        (lambda: select([Y, 3], LOSS), TypeError, "lists, dicts or dataclasses, got int"),
        (lambda: select(Y.int(), LOSS, "average"), TypeError, "'average' needs floating point"),
        (lambda: soft_select_weights(LOSS, 0.0), ValueError, "temperature=0.0 must be positive"),
        (lambda: soft_select_weights(LOSS, NAN), ValueError, "temperature=nan"),
        (lambda: straight_through(Y, Y[0]), ValueError, r"hard \(3, 2, 4\) and soft \(2, 4\)"),
        (lambda: straight_through(Y.long(), Y), TypeError, "floating point tensors, got torch.int"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_value(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_integer_losses_select_like_their_values() -> None:
    y = torch.randn(3, 2, 4)
    loss = torch.tensor([[2, 0], [1, 0], [-1, 3]])
    assert torch.equal(select(y, loss).index, torch.tensor([2, 0]))


@pytest.mark.parametrize("temperature", [1e-30, 1e-300])  # the second is 0 in float32
def test_soft_selection_survives_infinite_losses_and_tiny_temperatures(temperature: float) -> None:
    inf = torch.inf
    loss = torch.tensor(
        [[-inf, -inf, 1.0, inf], [0.0, -inf, 1.0 + 1e-3, inf], [5.0, 1.0, 9.0, 2.0]]
    )
    expected = torch.tensor([[1.0, 0.5, 1.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(soft_select_weights(loss, temperature), expected)


def test_a_tolerance_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance=nan"):
        select(torch.randn(2, 1, 1), torch.zeros(2, 1), "average", float("nan"))
