"""Images that are not square: exactly equivariant to quarter turns, and no model sees a square."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import equitune
from equitune import DihedralImage, Equivariant, Invariant, Letterboxed, Rot90, letterbox, losses

EXACT = 1e-10


class Pooled(nn.Module):
    """A classifier of images of any shape, without any symmetry."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.last = nn.Conv2d(2, 6, 3), nn.Linear(6, 4)
        self.seen: list[tuple[int, ...]] = []
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return self.last(self.conv(x).tanh().mean(dim=(-2, -1)))


def dense(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(2, 3, 3, padding=1).double()


def images(height: int, width: int, count: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, height, width, generator=generator, dtype=torch.float64)


def features(x: Tensor) -> Tensor:
    """Features of images of any shape that depend on the turn."""
    return torch.stack([x[:, 0, 0].mean(dim=-1), x[:, 1, :, 0].mean(dim=-1)], dim=1)


class Features(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return features(x)


def rule(name: str, dim: int) -> equitune.Weighting:
    if name == "uniform":
        return equitune.Uniform()
    if name == "select":
        return equitune.Select(lambda y: losses.entropy(y, dim=dim))
    net = equitune.LambdaNet(2, positive="exp").double()
    return equitune.Learned(net, Letterboxed(Features()))


@pytest.mark.parametrize("name", ["uniform", "select", "learned"])
@given(
    make=st.sampled_from([Rot90, DihedralImage]),
    height=st.integers(3, 8),
    width=st.integers(3, 8),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=15, deadline=None)
def test_theorem_1(
    name: str, make: type[Rot90 | DihedralImage], height: int, width: int, seed: int
) -> None:
    turns, x = make(), letterbox(images(height, width, seed=seed))
    unchanged = Invariant(turns.group)
    classifier = Equivariant(Letterboxed(Pooled(seed)), turns, unchanged, rule(name, -1))
    assert equitune.equivariance_error(classifier, x, turns, unchanged) < EXACT
    maps = Equivariant(Letterboxed(dense(seed), dense=True), turns, turns, rule(name, -3))
    assert equitune.equivariance_error(maps, x, turns, turns) < EXACT


def test_the_model_sees_each_shape_in_one_batch() -> None:
    net, turns = Pooled(0), Rot90()
    model = Equivariant(Letterboxed(net), turns, Invariant(turns.group))
    x = images(5, 7)
    found = model(letterbox(x))
    assert net.seen == [(6, 2, 5, 7), (6, 2, 7, 5)]
    expected = torch.stack([net(torch.rot90(x, k, (-2, -1))) for k in range(4)]).mean(dim=0)
    assert (found - expected).abs().max() < 1e-14


def test_maps_come_back_without_their_squares() -> None:
    net, turns = dense(0), Rot90()
    x = images(5, 8)
    boxed = letterbox(x)
    found = equitune.unletterbox(
        Equivariant(Letterboxed(net, dense=True), turns, turns)(boxed), boxed
    )
    views = [torch.rot90(net(torch.rot90(x, k, (-2, -1))), -k, (-2, -1)) for k in range(4)]
    assert (found - torch.stack(views).mean(dim=0)).abs().max() < 1e-14
    turned = turns.act(1, boxed)
    assert torch.equal(equitune.unletterbox(turned, turned), torch.rot90(x, 1, (-2, -1)))


def test_alone_it_is_the_model_bit_for_bit() -> None:
    net, turns = Pooled(0), Rot90()
    for x in (images(5, 7), images(7, 5), images(4, 4)):
        assert torch.equal(Letterboxed(net)(letterbox(x)), net(x))
        bare = Equivariant(
            Letterboxed(net), turns, Invariant(turns.group), equitune.Identity(turns.group)
        )
        assert torch.equal(bare(letterbox(x)), net(x))
    assert torch.equal(letterbox(images(4, 4)), images(4, 4))


def test_one_batch_may_hold_many_shapes() -> None:
    net = Pooled(0)
    shapes = [(8, 5), (5, 8), (8, 8), (8, 5), (3, 8)]
    given_ = [images(*shape, count=1, seed=k) for k, shape in enumerate(shapes)]
    found = Letterboxed(net)(torch.cat([letterbox(x) for x in given_]))
    expected = torch.cat([net(x) for x in given_])
    assert (found - expected).abs().max() < 1e-14


def test_gradients_reach_images_and_model() -> None:
    net, turns = Pooled(0), Rot90()
    model = Equivariant(Letterboxed(net), turns, Invariant(turns.group))
    x = images(4, 6).requires_grad_()
    functional.cross_entropy(model(letterbox(x)), torch.tensor([0, 1, 2])).backward()
    assert x.grad is not None and bool(x.grad.isfinite().all()) and bool((x.grad != 0).any())
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
    assert torch.autograd.gradcheck(
        lambda x: Letterboxed(dense(0), dense=True)(letterbox(x)), images(3, 4, 1).requires_grad_()
    )


BOTH = torch.cat([letterbox(images(3, 4)), letterbox(images(4, 3))])
HALF_A_HOLE = images(3, 4).clone()
HALF_A_HOLE[0, 1, 1, 1] = torch.nan


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: letterbox(torch.ones(1, 1, 2, 3).long()), TypeError, "floating point images"),
        (lambda: equitune.unletterbox(BOTH, BOTH), ValueError, r"got \[\(3, 4\), \(4, 3\)\]"),
        (lambda: Letterboxed(Pooled(0))(HALF_A_HOLE), ValueError, "must not hold NaN"),
        (lambda: Letterboxed(Pooled(0))(letterbox(HALF_A_HOLE)), ValueError, "must not hold NaN"),
        (
            lambda: Letterboxed(Pooled(0), dense=True)(letterbox(images(3, 4))),
            ValueError,
            r"must be \[N, K, 3, 4\] like the images, got shape \(3, 4\)",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors(call: object, kind: type[Exception], message: str) -> None:
    assert callable(call)
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
