"""Theorem 2 and Propositions 1 and 2 on small models: where they hold, and counterexamples."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from equitune.actions import Linear, PermuteAxis, Signs
from equitune.groups import cyclic
from equitune.rules import Learned, Select, Uniform
from equitune.wrapper import Equivariant

LENGTH = 3
SHIFTS = torch.stack([torch.arange(LENGTH).roll(-k) for k in range(LENGTH)])
TURNS = torch.stack(
    [torch.linalg.matrix_power(torch.tensor([[0.0, -1.0], [1.0, 0.0]]), k) for k in range(4)]
).double()


def likelihood(x: Tensor) -> Tensor:
    """Return p(x) = prod_i p(x_i | x_0, ..., x_{i-1}) of bits [B, 3], random conditionals."""
    generator = torch.Generator().manual_seed(0)
    total = torch.ones(len(x), dtype=torch.float64)
    for place in range(LENGTH):
        table = torch.rand(2**place, generator=generator, dtype=torch.float64)
        code = (x[:, :place] * 2 ** torch.arange(place)).sum(dim=1)
        chance = table[code]
        total = total * torch.where(x[:, place] == 1, chance, 1 - chance)
    return total


def sequences() -> Tensor:
    return torch.tensor(list(itertools.product((0, 1), repeat=LENGTH)))


def test_proposition_1_holds_for_a_known_element() -> None:
    """In the order of a view the product of conditionals is a distribution, for each view."""
    action = PermuteAxis(cyclic(LENGTH), SHIFTS)
    orbit = action.orbit(sequences())
    for view in orbit:
        assert likelihood(view).sum() == pytest.approx(1)


def test_proposition_1_fails_where_the_element_depends_on_the_sequence() -> None:
    """The likeliest view of every sequence: a maximum of distributions sums to more than one."""
    action = PermuteAxis(cyclic(LENGTH), SHIFTS)
    views = torch.stack([likelihood(view) for view in action.orbit(sequences())])
    total = views.max(dim=0).values.sum()
    assert total > 1.1
    # It is invariant all the same, and divided by the sum a distribution, but no product.
    turned = torch.stack([likelihood(view) for view in action.orbit(action.act(1, sequences()))])
    assert torch.allclose(turned.max(dim=0).values, views.max(dim=0).values)


class Affine(nn.Module):
    """An invertible model, y = Ax + b."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.matrix = torch.eye(2).double() + 0.3 * torch.randn(
            2, 2, generator=generator, dtype=torch.float64
        )
        self.offset = torch.randn(2, generator=generator, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T + self.offset

    def inverse(self, y: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix, (y - self.offset).T).T


def test_proposition_2_holds_where_the_element_is_known() -> None:
    """x = g*^-1 M^-1(g* y): the inverse of the proof, which needs g*."""
    model, turn = Affine(), Linear(cyclic(4), TURNS)
    inputs = torch.randn(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def loss(outputs: Tensor) -> Tensor:
        return outputs[..., 0]

    outputs = Equivariant(model, turn, turn, Select(loss))(inputs)
    best = loss(model(turn.orbit(inputs).flatten(0, 1)).reshape(4, -1, 2)).argmin(dim=0)
    assert len(best.unique()) > 1
    for x, y, g in zip(inputs, outputs, best.tolist(), strict=True):
        back = model.inverse(turn.act(g, y[None]))
        again = turn.act(int(turn.group.inverses[g]), back)[0]
        assert torch.allclose(again, x)


def test_proposition_2_fails_where_the_element_is_not_known() -> None:
    """M(x) = x + 1, signs, and the injective loss l(y) = y: two inputs with one output."""

    class Shift(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    signs = Signs(cyclic(2), torch.tensor([[1.0], [-1.0]]))
    equizero = Equivariant(Shift(), signs, signs, Select(lambda outputs: outputs[..., 0]))
    outputs = equizero(torch.tensor([[0.5], [-1.5]]))
    assert outputs.flatten().tolist() == [-0.5, -0.5]


class Even(nn.Module):
    """f(x) = x |x|^2, equivariant to all rotations; divided by a function where one is given."""

    def __init__(self, divisor: nn.Module | None = None) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        value = x * x.square().sum(dim=-1, keepdim=True)
        return value if self.divisor is None else value / self.divisor(x)[:, None]


class Weight(nn.Module):
    """A positive function that no rotation leaves as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + x[:, 0].exp()


def test_theorem_2_needs_a_model_of_the_function_itself() -> None:
    """Eq. 4 divides by the sum of lambda: M = f gives f, M = f / lambda gives |G| f / sum lambda.

    With M = f / lambda, as the theorem asks, the result is f only where the mean of lambda over
    the orbit is one.
    """
    turn, weight = Linear(cyclic(4), TURNS), Weight()
    inputs = torch.randn(20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    wanted = Even()(inputs)
    direct = Equivariant(Even(), turn, turn, Learned(weight))(inputs)
    assert torch.allclose(direct, wanted)
    divided = Equivariant(Even(weight), turn, turn, Learned(weight))(inputs)
    assert not torch.allclose(divided, wanted, rtol=0.1)
    mean = weight(turn.orbit(inputs).flatten(0, 1)).reshape(4, -1).mean(dim=0)
    assert torch.allclose(divided * mean[:, None], wanted)


def test_the_mean_of_an_invertible_model_need_not_be_invertible() -> None:
    """As the paper says of equitune: the mean over the turns of a reflection is zero."""
    model, turn = Affine(), Linear(cyclic(4), TURNS)
    # A model whose part that commutes with the turns is zero.
    model.matrix = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    inputs = torch.randn(5, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    outputs = Equivariant(model, turn, turn, Uniform())(inputs)
    assert torch.allclose(outputs, torch.zeros_like(outputs), atol=1e-12)
