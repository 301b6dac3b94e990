"""Views in chunks: the same numbers and gradients from smaller passes, and fewer activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from equitune import losses
from equitune.actions import DihedralImage, Invariant, PermuteAxis
from equitune.checks import equivariance_error
from equitune.groups import cyclic, trivial
from equitune.rules import Learned, Select, SoftSelect, Uniform, Weighting
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

EXACT = 1e-10
ACTION = DihedralImage()
SAME = Invariant(ACTION.group)
X = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

RULES: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "select": lambda: Select(losses.entropy),
    "straight-through": lambda: Select(losses.entropy, straight_through="mean"),
    "soft select": lambda: SoftSelect(losses.entropy, 0.3),
    "learned": lambda: Learned(LambdaNet(16)),
    "learned of features": lambda: Learned(LambdaNet(6), reads="features"),
}


class Backbone(nn.Module):
    """Features [N, 6] of images and, if given, of a second image and a mask; it notes its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(1, 4, 3), nn.Linear(16, 6)
        self.sizes: list[int] = []

    def forward(self, x: Tensor, mask: Tensor | None = None, other: Tensor | None = None) -> Tensor:
        self.sizes.append(len(x))
        x = x if other is None else x + other.tanh()
        x = x if mask is None else x * mask[:, None, None, None]
        features: Tensor = self.linear(self.conv(x).tanh().flatten(1)).tanh()
        return features


def build(rule: str, chunk: int | None = None, checkpoint: bool = False) -> Equivariant:
    backbone = Backbone()
    torch.manual_seed(1)
    return Equivariant(
        backbone,
        ACTION,
        SAME,
        RULES[rule](),
        head=nn.Linear(6, 5),
        keyword_actions={"other": ACTION},
        chunk=chunk,
        checkpoint=checkpoint,
    ).double()


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output.sin().sum(), list(model.parameters())))


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 4, 8, 100])
@pytest.mark.parametrize("rule", RULES)
def test_the_same_numbers_and_gradients(rule: str, chunk: int, checkpoint: bool) -> None:
    mask, other = torch.rand(3, dtype=torch.float64), X.roll(1, dims=0)
    whole, parts = build(rule), build(rule, chunk, checkpoint)
    one, two = whole(X, mask=mask, other=other), parts(X, mask=mask, other=other)
    torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-12)
    expected = gradients(whole, one)
    torch.testing.assert_close(gradients(parts, two), expected, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(parts(X, mask=mask, other=other), two)
    full, left = divmod(8, chunk)
    sizes = [3 * chunk] * full + ([3 * left] if left else [])
    backward = sizes[::-1] if checkpoint else []
    assert parts.model.sizes == [*sizes, *backward, *sizes]


class Pointwise(nn.Module):
    """A model whose result for a sample is the same to the last bit in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.linspace(-1, 1, 16).view(4, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"maps": x * self.factor, "first": x[:, 0, 0]}


@pytest.mark.parametrize("chunk", [1, 2, 3, 8])
def test_views_are_the_same_bit_for_bit_where_the_model_is_so(chunk: int) -> None:
    actions = {"maps": ACTION, "first": SAME}
    x = torch.randn(5, 1, 4, 4)
    whole = Equivariant(Pointwise(), ACTION, actions)
    parts = Equivariant(whole.model, ACTION, actions, chunk=chunk)
    one, two = whole.views(x), parts.views(x)
    for key in actions:
        assert torch.equal(one.outputs[key], two.outputs[key])
        assert torch.equal(one.undone[key], two.undone[key])
        # A mean depends on how its terms lie in memory.
        torch.testing.assert_close(whole(x)[key], parts(x)[key])


@given(
    chunk=st.integers(1, 9),
    rule=st.sampled_from([name for name in RULES if name != "straight-through"]),
    checkpoint=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_theorem_1(chunk: int, rule: str, checkpoint: bool, seed: int) -> None:
    model = build(rule, chunk, checkpoint)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed)).double()
    assert equivariance_error(model, x, ACTION, SAME) < EXACT


def test_the_trivial_group_is_the_bare_model_bit_for_bit() -> None:
    action = PermuteAxis(trivial(), torch.arange(3)[None])
    net = nn.Linear(3, 3)
    x = torch.randn(4, 3)
    model = Equivariant(net, action, action, chunk=1, checkpoint=True)
    assert torch.equal(model(x), net(x))
    assert torch.equal(model.weighting(model.views(x)), net(x))


def test_chunks_explain_alike() -> None:
    one, two = build("select").explain(X), build("select", 3).explain(X)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """Return the bytes that autograd keeps for backward, each storage counted once."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(x)
    del output
    return sum(kept.values())


def test_checkpointing_keeps_no_activations() -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 2000), nn.Tanh(), nn.Linear(2000, 2)).double()
    plain = kept_bytes(Equivariant(wide, ACTION, SAME, chunk=1), X)
    saved = kept_bytes(Equivariant(wide, ACTION, SAME, chunk=1, checkpoint=True), X)
    activations = 8 * 3 * 2000 * 8
    assert plain - saved > 0.9 * activations


def test_dropout_is_drawn_alike_in_the_second_pass() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.5), nn.Linear(8, 2)).double()
    found = []
    for checkpoint in (False, True):
        model = Equivariant(net, ACTION, SAME, chunk=2, checkpoint=checkpoint).train()
        torch.manual_seed(0)
        found.append(gradients(model, model(X)))
    torch.testing.assert_close(found[0], found[1])


def test_chunks_compile_whole(unchecked: None) -> None:
    model = build("select", 3)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), model(X))


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_without_views_is_refused(chunk: int) -> None:
    with pytest.raises(ValueError, match=f"chunk={chunk} must be at least 1, the number of views"):
        Equivariant(nn.Identity(), ACTION, SAME, chunk=chunk)


def test_a_group_of_other_size_than_its_chunks() -> None:
    action = PermuteAxis(cyclic(5), (torch.arange(5)[:, None] + torch.arange(5)) % 5)
    net = nn.Linear(5, 5).double()
    x = torch.randn(2, 5, dtype=torch.float64)
    expected = Equivariant(net, action, action)(x)
    for chunk in range(1, 7):
        found = Equivariant(net, action, action, chunk=chunk)(x)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
