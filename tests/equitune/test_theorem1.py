"""Theorem 1, numerically: Eq. 4 is equivariant for random groups, actions, models and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from equitune import losses
from equitune.actions import (
    Action,
    Boxes,
    DihedralImage,
    Invariant,
    Linear,
    Mirror,
    PermuteAxis,
    Rank2,
    Relabel,
    Rot90,
    Rot180,
    Signs,
)
from equitune.checks import equivariance_error
from equitune.groups import FiniteGroup, cyclic, dihedral, permutation_group, product, symmetric
from equitune.matrix_groups import icosahedral, matrix_group, octahedral, rotations
from equitune.rules import Learned, Select, SoftSelect, Uniform, Weighting
from equitune.weights import LambdaNet, Positive
from equitune.wrapper import Equivariant

# The run-time type checker of the test suite draws random items of lists.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

EXACT = 1e-10
LARGE = 1e-3
BATCH = 3


def renamed(group: FiniteGroup, names: list[int]) -> FiniteGroup:
    """Renumber the elements, so that the identity is anywhere."""
    new = torch.tensor(names)
    old = new.argsort()
    return FiniteGroup(new[group.table[old][:, old]], f"renamed {group.name}")


@st.composite
def groups(draw: st.DrawFn) -> FiniteGroup:
    """A group of order 2 to 24 with its elements in random order."""
    kind = draw(st.sampled_from(["cyclic", "dihedral", "symmetric", "product", "permutation"]))
    if kind == "cyclic":
        group = cyclic(draw(st.integers(3, 8)))
    elif kind == "dihedral":
        group = dihedral(draw(st.integers(1, 5)))
    elif kind == "symmetric":
        group = symmetric(3)
    elif kind == "product":
        first = draw(st.sampled_from([cyclic(2), cyclic(3), dihedral(3)]))
        group = product(first, draw(st.sampled_from([cyclic(2), dihedral(2), cyclic(3)])))
    else:
        moves = st.permutations(range(4))
        group = permutation_group(draw(st.lists(moves, min_size=1, max_size=2)))
    assume(group.order > 1)
    return renamed(group, draw(st.permutations(range(group.order))))


def regular(group: FiniteGroup, generator: torch.Generator, fixed: int = 1) -> Tensor:
    """The regular representation and fixed points, on points in random order: [G, |G| + fixed]."""
    n = group.order + fixed
    table = torch.arange(n).repeat(group.order, 1)
    table[:, : group.order] = group.table
    order = torch.randperm(n, generator=generator)
    return order[table[:, order.argsort()]]


def skewed(group: FiniteGroup, generator: torch.Generator) -> Tensor:
    """A representation that is not orthogonal: regular matrices in another basis."""
    table = regular(group, generator)
    n = table.shape[1]
    moves = torch.eye(n, dtype=torch.float64)[table].transpose(1, 2)
    noise = torch.randn(n, n, generator=generator, dtype=torch.float64)
    basis = torch.eye(n, dtype=torch.float64) + 0.5 * noise / n**0.5
    assume(float(torch.linalg.cond(basis)) < 100)
    return basis @ moves @ torch.linalg.inv(basis)


def parity(group: FiniteGroup) -> Tensor:
    """Signs of the regular permutations beside the trivial sign, [G, 2]."""
    signs = [torch.linalg.det(torch.eye(group.order)[row]).round().item() for row in group.table]
    return torch.tensor([[sign, 1.0] for sign in signs])


def action_on_vectors(kind: str, group: FiniteGroup, generator: torch.Generator) -> Action:
    """An action on [B, n]."""
    if kind == "permute":
        return PermuteAxis(group, regular(group, generator))
    if kind == "linear":
        return Linear(group, skewed(group, generator))
    if kind == "signs":
        return Signs(group, parity(group))
    return Invariant(group)


def size_of(action: Action) -> int:
    """The n that an action on [B, n] asks for."""
    if isinstance(action, PermuteAxis):
        return action.size
    if isinstance(action, Linear):
        return action.matrices.shape[1]
    return action.signs.shape[1] if isinstance(action, Signs) else 4


def mlp(inputs: int, outputs: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """A model with no symmetry at all."""
    count = int(torch.tensor(outputs).prod())
    layers = [nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, count)]
    model = nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, outputs)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return model


def lambda_net(inputs: int, generator: torch.Generator, positive: Positive) -> nn.Module:
    """A random lambda."""
    net = LambdaNet(inputs, hidden=8, positive=positive).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return net


def entropy(outputs: Tensor) -> Tensor:
    """A loss without ties by chance: unequal factors make it depend on the order of classes."""
    scale = torch.linspace(0.5, 2.0, outputs.flatten(2).shape[2], dtype=outputs.dtype)
    return losses.entropy(outputs.flatten(2) * scale)


def coarse(outputs: Tensor) -> Tensor:
    """A loss with two values, so that many views tie."""
    return (outputs.flatten(2)[..., 0] > 0).double()


def constant(outputs: Tensor) -> Tensor:
    """A loss for which all views tie."""
    return outputs.new_zeros(outputs.shape[:2])


RULES: dict[str, Callable[[int, torch.Generator], Weighting]] = {
    "uniform": lambda n, generator: Uniform(),
    "select first": lambda n, generator: Select(entropy),
    # The tolerance absorbs rounding: views of one input may differ by their place in the batch.
    "select average": lambda n, generator: Select(entropy, ties="average", tolerance=1e-9),
    "select average, ties": lambda n, generator: Select(coarse, ties="average"),
    "select average, all tie": lambda n, generator: Select(constant, ties="average"),
    "soft select": lambda n, generator: SoftSelect(entropy, temperature=0.1),
    "learned": lambda n, generator: Learned(lambda_net(n, generator, "softplus")),
    "learned exp": lambda n, generator: Learned(lambda_net(n, generator, "exp")),
}


def assume_clear_choice(model: Equivariant, x: Tensor) -> None:
    """Drop samples whose two best views are within rounding of each other (Eq. 2 assumes so)."""
    loss = entropy(model.views(x).outputs).sort(dim=0).values
    assume(bool(((loss[1] - loss[0]) > 1e-9).all()))


@pytest.mark.parametrize("rule", RULES)
@given(
    group=groups(),
    kinds=st.tuples(
        st.sampled_from(["permute", "linear", "signs"]),
        st.sampled_from(["permute", "linear", "signs", "invariant"]),
    ),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_vectors(rule: str, group: FiniteGroup, kinds: tuple[str, str], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Signs leave many views equal, so that no minimiser is unique.
    assume(rule != "select first" or kinds[0] != "signs")
    action_in, action_out = (action_on_vectors(kind, group, generator) for kind in kinds)
    inputs = size_of(action_in)
    base = mlp(inputs, (size_of(action_out),), generator)
    model = Equivariant(base, action_in, action_out, RULES[rule](inputs, generator))
    x = torch.randn(BATCH, inputs, generator=generator, dtype=torch.float64)
    if rule == "select first":
        assume_clear_choice(model, x)
    assert equivariance_error(model, x, action_in, action_out) < EXACT


IMAGES: list[Callable[[], Action]] = [Rot90, Rot180, Mirror, DihedralImage]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("make", IMAGES)
@pytest.mark.parametrize("dense", [True, False], ids=["image to image", "image to class"])
def test_images(rule: str, make: Callable[[], Action], dense: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    action_in = make()
    action_out = make() if dense else Invariant(action_in.group)
    base = mlp(32, (3, 4, 4) if dense else (5,), generator)
    model = Equivariant(base, action_in, action_out, RULES[rule](32, generator))
    x = torch.randn(BATCH, 2, 4, 4, generator=generator, dtype=torch.float64)
    assert equivariance_error(base, x, action_in, action_out) > LARGE
    assert equivariance_error(model, x, action_in, action_out) < EXACT


@pytest.mark.parametrize("rule", ["uniform", "select first", "select average, ties", "soft select"])
@given(group=groups(), seed=st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_tokens(rule: str, group: FiniteGroup, seed: int) -> None:
    """Token ids in, next-token logits for every position out."""
    generator = torch.Generator().manual_seed(seed)
    table = regular(group, generator, fixed=2)
    words = table.shape[1]
    embedding = nn.Embedding(words, 3).double()
    embedding.weight.data = torch.randn(words, 3, generator=generator, dtype=torch.float64)
    base = nn.Sequential(embedding, mlp(4 * 3, (4, words), generator))
    action_in, action_out = Relabel(group, table), PermuteAxis(group, table)
    model = Equivariant(base, action_in, action_out, RULES[rule](4, generator))
    x = torch.randint(words, (BATCH, 4), generator=generator)
    if rule == "select first":
        assume_clear_choice(model, x)
    assert equivariance_error(model, x, action_in, action_out) < EXACT


# The rules that mix, choose, and learn; many examples of all rules are in test_vectors.
SOME = ["uniform", "select first", "select average", "soft select", "learned"]


@pytest.mark.parametrize("rule", SOME)
@given(
    make=st.sampled_from([Rot90, Rot180, Mirror, DihedralImage]),
    format=st.sampled_from(["xyxy", "cxcywh"]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=15, deadline=None)
def test_boxes(
    rule: str,
    make: type[Rot90 | Rot180 | Mirror | DihedralImage],
    format: Literal["xyxy", "cxcywh"],
    seed: int,
) -> None:
    """Images in, boxes out."""
    generator = torch.Generator().manual_seed(seed)
    action_in = make()
    action_out = Boxes(action_in, (4.0, 4.0), format)
    base = mlp(32, (3, 4), generator)
    model = Equivariant(base, action_in, action_out, RULES[rule](32, generator))
    x = torch.randn(BATCH, 2, 4, 4, generator=generator, dtype=torch.float64)
    if rule == "select first":
        assume_clear_choice(model, x)
    assert equivariance_error(base, x, action_in, action_out) > LARGE
    assert equivariance_error(model, x, action_in, action_out) < EXACT


SPACE = {
    "axis": rotations(7, (1.0, -2.0, 0.5)),
    "cube": octahedral(),
    "cube, all": octahedral(reflections=True),
    "icosahedron": icosahedral(),
    "icosahedron, all": icosahedral(reflections=True),
    "skewed": matrix_group([[[0.0, -1.0, 0.3], [1.0, -1.0, 0.2], [0.0, 0.0, 1.0]]]),
}


@pytest.mark.parametrize("rule", SOME)
@pytest.mark.parametrize("rank", [0, 1, 2])
@given(name=st.sampled_from(list(SPACE)), seed=st.integers(0, 2**16))
@settings(max_examples=4, deadline=None)
def test_points_in_space(rule: str, rank: int, name: str, seed: int) -> None:
    """Point clouds in; a number, a vector or a tensor out."""
    generator = torch.Generator().manual_seed(seed)
    group = SPACE[name]
    action_in = Linear(group)
    action_out = (Invariant(group), Linear(group), Rank2(group))[rank]
    base = mlp(15, (3,) * max(rank, 1), generator)
    model = Equivariant(base, action_in, action_out, RULES[rule](15, generator))
    x = torch.randn(BATCH, 5, 3, generator=generator, dtype=torch.float64)
    if rule == "select first":
        assume_clear_choice(model, x)
    assert equivariance_error(base, x, action_in, action_out) > LARGE
    assert equivariance_error(model, x, action_in, action_out) < EXACT


@pytest.mark.parametrize("rule", ["learned", "learned exp"])
@given(group=groups(), seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_one_weight_per_token(rule: str, group: FiniteGroup, seed: int) -> None:
    """Sequences in and out, with a lambda for every place."""
    generator = torch.Generator().manual_seed(seed)
    action = PermuteAxis(group, regular(group, generator))
    positive: Positive = "exp" if rule == "learned exp" else "softplus"
    net = lambda_net(action.size, generator, positive)
    base = mlp(5 * action.size, (5, action.size), generator)
    model = Equivariant(base, action, action, Learned(net, features=lambda x: x))
    x = torch.randn(BATCH, 5, action.size, generator=generator, dtype=torch.float64)
    assert equivariance_error(model, x, action, action) < EXACT


@given(
    rule=st.sampled_from(list(RULES)),
    n=st.integers(2, 4),
    rank=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_the_trivial_group_is_the_bare_model_bit_for_bit(
    rule: str, n: int, rank: int, seed: int
) -> None:
    """With the actions of matrices, also along the path that the wrapper would not take."""
    generator = torch.Generator().manual_seed(seed)
    alone = matrix_group(torch.eye(n)[None])
    action_in = Linear(alone)
    action_out = (Invariant(alone), Linear(alone), Rank2(alone))[rank]
    base = mlp(5 * n, (n,) * max(rank, 1), generator)
    model = Equivariant(base, action_in, action_out, RULES[rule](5 * n, generator))
    x = torch.randn(BATCH, 5, n, generator=generator, dtype=torch.float64)
    assert torch.equal(model(x), base(x))
    assert torch.equal(model.weighting(model.views(x)), base(x))
    assert torch.equal(model.explain(x).output, base(x))


class WrongUndo(PermuteAxis):
    """Applies g where g^-1 belongs."""

    def undo(self, y: Tensor) -> Tensor:
        """Return result[g] = g y[g]."""
        return torch.stack([self.act(g, y[g]) for g in self.group.elements])


@pytest.mark.parametrize("group", [cyclic(3), cyclic(5), dihedral(3), symmetric(3)], ids=repr)
@pytest.mark.parametrize("rule", ["uniform", "select first", "learned"])
def test_the_measure_notices_g_in_place_of_its_inverse(group: FiniteGroup, rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    table = regular(group, generator)
    right, wrong = PermuteAxis(group, table), WrongUndo(group, table)
    n = right.size
    base, weighting = mlp(n, (n,), generator), RULES[rule](n, generator)
    x = torch.randn(8, n, generator=generator, dtype=torch.float64)
    assert equivariance_error(Equivariant(base, right, right, weighting), x, right, right) < EXACT
    assert equivariance_error(Equivariant(base, right, wrong, weighting), x, right, right) > 0.1


def test_first_of_tied_views_is_not_equivariant_but_their_average_is() -> None:
    """The caveat of Eq. 2: an input that some g leaves alone ties, and "first" must take sides."""
    generator = torch.Generator().manual_seed(0)
    group = cyclic(3)
    action = PermuteAxis(group, group.table)
    base = mlp(3, (3,), generator)
    x = torch.ones(1, 3, dtype=torch.float64)
    first = Equivariant(base, action, action, Select(entropy))
    averaged = Equivariant(base, action, action, Select(entropy, ties="average", tolerance=1e-9))
    assert equivariance_error(first, x, action, action) > LARGE
    assert equivariance_error(averaged, x, action, action) < EXACT
