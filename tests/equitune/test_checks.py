"""The equivariance error, on functions whose error is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from equitune.actions import Invariant, Mirror, PermuteAxis, Relabel
from equitune.checks import equivariance_error
from equitune.groups import cyclic

MIRROR = Mirror()
X = torch.tensor([[1.0, 2.0, 4.0], [0.0, -8.0, 3.0]])


def test_zero_for_equivariant_functions() -> None:
    assert equivariance_error(lambda x: 3 * x, X, MIRROR, MIRROR) == 0.0
    invariant = Invariant(cyclic(2))
    assert equivariance_error(lambda x: x.amax(dim=1), X, MIRROR, invariant) == 0.0


def test_known_relative_error() -> None:
    shift = torch.tensor([0.0, 0.0, 2.0])
    # f(gx) - g f(x) = (-2, 0, 2) and max |f(x)| = 8.
    assert equivariance_error(lambda x: x + shift, X, MIRROR, MIRROR) == pytest.approx(0.25)
    # Relative: the scale of f does not matter.
    scaled = equivariance_error(lambda x: 1e6 * (x + shift), X, MIRROR, MIRROR)
    assert scaled == pytest.approx(0.25)


def test_zero_outputs_do_not_divide_by_zero() -> None:
    assert equivariance_error(torch.zeros_like, X, MIRROR, MIRROR) == 0.0


def test_infinities_that_agree_are_no_error() -> None:
    def clip(x: Tensor) -> Tensor:
        return x.masked_fill(x > 3, math.inf)

    assert equivariance_error(clip, X, MIRROR, MIRROR) == 0.0

    def fixed(x: Tensor) -> Tensor:
        return x.index_fill(1, torch.tensor([0]), math.inf)

    assert equivariance_error(fixed, X, MIRROR, MIRROR) == math.inf
    assert math.isnan(equivariance_error(lambda x: x * math.nan, X, MIRROR, MIRROR))


def test_integers_count_samples() -> None:
    table = torch.tensor([[0, 1, 2], [1, 0, 2]])
    relabel = Relabel(cyclic(2), table)
    x = torch.tensor([[2, 2], [0, 2], [2, 2], [2, 0]])
    assert equivariance_error(lambda x: x, x, relabel, relabel) == 0.0
    # A constant is wrong only where the label moves: never for label 2.
    assert equivariance_error(lambda x: x * 0 + 2, x, relabel, relabel) == 0.0
    assert equivariance_error(lambda x: x * 0, x, relabel, relabel) == 1.0
    assert equivariance_error(lambda x: x.clamp(min=1), x, relabel, relabel) == 0.5


def test_greedy_choice_of_an_equivariant_model_is_equivariant() -> None:
    table = torch.tensor([[0, 1, 2], [1, 0, 2]])
    permute, relabel = PermuteAxis(cyclic(2), table), Relabel(cyclic(2), table)
    assert equivariance_error(lambda x: x.argmax(dim=1), X, permute, relabel) == 0.0


def test_mode_and_gradients_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    for mode in (True, False):
        model.train(mode)
        equivariance_error(model, X, MIRROR, MIRROR)
        assert model.training is mode
        assert model[1].training is mode
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_value() -> None:
    with pytest.raises(ValueError, match=r"one group, got .*cyclic\(2\).*cyclic\(3\)"):
        equivariance_error(lambda x: x, X, MIRROR, Invariant(cyclic(3)))
    with pytest.raises(ValueError, match=r"at least one sample, got shape \(0, 3\)"):
        equivariance_error(lambda x: x, X[:0], MIRROR, MIRROR)
    with pytest.raises(ValueError, match=r"f\(gx\) has shape \(1, 3\) .* for g=0"):
        calls = iter([X, X[:1]])
        equivariance_error(lambda x: next(calls), X, MIRROR, MIRROR)


def test_complex_outputs_are_compared_as_numbers() -> None:
    action = Mirror()
    error = equivariance_error(
        lambda x: torch.fft.fft(x, dim=-2), torch.randn(2, 3, 4), action, action
    )
    assert error < 1e-5
