"""Turns by interpolation: quarter turns are exact, the error of the others is measured."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import equitune
from equitune import ApproximateRotation, Equivariant, Invariant, Rot90, action_error

EXACT = 1e-10


def smooth(size: int, seed: int = 0) -> Tensor:
    """Random waves, at most three across the image, [2, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(-1, 1, size, dtype=torch.float64)
    waves = torch.randn(2, 3, 6, 3, generator=generator, dtype=torch.float64) * 4
    phase = waves[..., 0, None, None] * place[:, None] + waves[..., 1, None, None] * place
    return (phase + waves[..., 2, None, None]).sin().sum(dim=2)


def disc(x: Tensor) -> Tensor:
    return ApproximateRotation(4).act(0, x)


def classifier(size: int) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.Tanh(), nn.Flatten(), nn.Linear(8 * (size - 4) ** 2, 5)
    )
    return net.double()


@pytest.mark.parametrize("n", [4, 8, 12])
@pytest.mark.parametrize("size", [7, 8])
def test_quarter_turns_move_pixels(n: int, size: int) -> None:
    x = smooth(size)
    action = ApproximateRotation(n)
    for quarter in range(4):
        assert torch.equal(action.act(quarter * n // 4, x), disc(Rot90().act(quarter, x)))
    assert action.group == equitune.cyclic(n)


@pytest.mark.parametrize("size", [3, 8, 9])
def test_the_disc_is_zero_around_and_touches_all_edges(size: int) -> None:
    kept = disc(torch.ones(1, size, size)) != 0
    assert not kept[0, 0, 0]
    place = torch.arange(size) - (size - 1) / 2
    assert torch.equal(kept[0], place[:, None] ** 2 + place**2 <= ((size - 1) / 2) ** 2)
    x = torch.full((1, size, size), torch.nan).masked_fill(kept, 1.0)
    assert torch.equal(disc(x), kept.float())


def test_it_turns_counter_clockwise_and_on_the_named_dims() -> None:
    x = torch.zeros(1, 65, 65)
    x[:, 30:35, 54:59] = 1  # to the right of the centre
    turned = ApproximateRotation(8).act(1, x)
    rows, columns = (turned[0] > 0.5).nonzero().double().mean(dim=0).tolist()
    assert rows == pytest.approx(32 - 24 / 2**0.5, abs=0.3)
    assert columns == pytest.approx(32 + 24 / 2**0.5, abs=0.3)
    y = smooth(9)
    last = ApproximateRotation(8, dims=(-3, -2)).act(3, y.movedim(1, -1)).movedim(-1, 1)
    assert torch.equal(last, ApproximateRotation(8).act(3, y))


def test_the_error_is_measured_and_falls_with_the_resolution() -> None:
    errors = {
        (n, mode): [action_error(ApproximateRotation(n, mode=mode), smooth(s)) for s in (16, 64)]
        for n in (8, 16)
        for mode in ("bilinear", "bicubic")
    }
    for coarse, fine in errors.values():
        assert 1e-4 < fine < coarse < 0.5
    exact = action_error(ApproximateRotation(4), smooth(16))
    assert exact == action_error(Rot90(), smooth(16)) == 0
    assert action_error(equitune.Linear(equitune.icosahedral()), smooth(3)) < 1e-14


def test_it_says_that_it_is_approximate() -> None:
    action = ApproximateRotation(8)
    assert not action.exact and Rot90().exact
    assert "approximate" in repr(action) and "approximate" not in repr(Rot90())


@pytest.mark.parametrize("n", [8, 16])
def test_a_model_is_nearer_to_equivariant_but_not_exactly(n: int) -> None:
    action, unchanged = ApproximateRotation(n), Invariant(equitune.cyclic(n))
    net, x = classifier(24), disc(smooth(24))
    model = Equivariant(net, action, unchanged)
    error = equitune.equivariance_error(model, x, action, unchanged)
    assert 1e-6 < error < 0.2 * equitune.equivariance_error(net, x, action, unchanged)


@given(seed=st.integers(0, 2**16), size=st.integers(5, 9), n=st.sampled_from([8, 12, 16]))
@settings(max_examples=15, deadline=None)
def test_under_the_quarter_turns_in_it_a_model_is_exact(seed: int, size: int, n: int) -> None:
    action = ApproximateRotation(n)
    model = Equivariant(classifier(size), action, Invariant(action.group))
    x = smooth(size, seed)
    outputs = [model(Rot90().act(quarter, x)).detach() for quarter in range(4)]
    assert max(float((output - outputs[0]).abs().max()) for output in outputs) < EXACT


def test_the_trivial_group_is_the_bare_model() -> None:
    net, x = classifier(8), smooth(8)
    model = Equivariant(net, ApproximateRotation(1), Invariant(equitune.trivial()))
    assert torch.equal(model(x), net(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = smooth(9).to(dtype)
    action = ApproximateRotation(8)
    expected = action.orbit(x)
    assert expected.dtype == dtype
    assert action.undo(expected).dtype == dtype


def test_autocast_does_not_round_the_images() -> None:
    x = smooth(9).float()
    expected = ApproximateRotation(8).orbit(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ApproximateRotation(8).orbit(x), expected)


def test_gradients() -> None:
    x = smooth(5)[:1, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(ApproximateRotation(8).orbit, (x,), fast_mode=True)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ApproximateRotation(0), ValueError, r"cyclic\(0\) does not exist"),
        (
            lambda: ApproximateRotation(8, mode="nearest"),  # type: ignore[arg-type]
            ValueError,
            "mode='nearest' is unknown",
        ),
        (lambda: ApproximateRotation(8).act(0, torch.ones(1, 3, 4)), ValueError, "square image"),
        (lambda: ApproximateRotation(8).act(8, torch.ones(1, 3, 3)), ValueError, "element 8 is"),
        (
            lambda: ApproximateRotation(8).orbit(torch.ones(1, 3, 3).long()),
            TypeError,
            "floating point tensors, got torch.int64",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors(call: object, kind: type[Exception], message: str) -> None:
    assert callable(call)
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
