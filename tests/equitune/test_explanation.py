"""What `explain` tells of a choice: known turns, known margins, and no further pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from equitune import losses
from equitune.actions import Action, DihedralImage, Invariant, PermuteAxis, Rot90
from equitune.averaging import average
from equitune.groups import trivial
from equitune.rules import Identity, Learned, Select, SoftSelect, Uniform, Views, Weighting
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

SIZE = 4


class Net(nn.Module):
    """A classifier of images [N, 1, 4, 4] without symmetry; it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 5))
        self.double()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        scores: Tensor = self.net(x)
        return scores


def darkness_above(inputs: Tensor) -> Tensor:
    """A loss that is least where the light is in the upper rows and to the left, [G, B]."""
    ramp = torch.arange(float(SIZE), dtype=inputs.dtype)
    return (inputs * (3 * ramp[:, None] + ramp)).flatten(2).sum(dim=-1)


def upright() -> Tensor:
    """Images whose light is in the upper rows, more of it to the left, [3, 1, 4, 4]."""
    images = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.float64)
    images[:, :, 0] = torch.tensor(
        [[4.0, 3.0, 2.0, 1.0], [5.0, 1.0, 1.0, 1.0], [9.0, 2.0, 1.0, 0]]
    )[:, None]
    return images


RULES: dict[str, Any] = {
    "uniform": lambda group: Uniform(),
    "identity": Identity,
    "select": lambda group: Select(losses.entropy),
    "select by inputs": lambda group: Select(darkness_above, reads="inputs"),
    "select average": lambda group: Select(losses.entropy, "average"),
    "straight-through": lambda group: Select(losses.entropy, straight_through="mean"),
    "soft select": lambda group: SoftSelect(losses.entropy, 0.5),
    "learned": lambda group: Learned(LambdaNet(16).double()),
    "learned of outputs": lambda group: Learned(LambdaNet(5).double(), reads="outputs"),
}


def build(rule: str, action: Action) -> Equivariant:
    torch.manual_seed(1)
    return Equivariant(Net(), action, Invariant(action.group), RULES[rule](action.group))


@pytest.mark.parametrize("make", [Rot90, DihedralImage])
def test_it_tells_by_how_much_an_image_was_turned(make: type[Rot90]) -> None:
    action = make()
    model = build("select by inputs", action)
    for g in action.group.elements:
        found = model.explain(action.act(g, upright()))
        assert found.moved_by.tolist() == [g] * 3
        assert found.best.tolist() == [action.group.inverse(g)] * 3
        seen = action.orbit(action.act(g, upright()))[found.best, torch.arange(3)]
        assert torch.equal(seen, upright())


@pytest.mark.parametrize("rule", RULES)
def test_the_output_is_that_of_forward_and_the_weighted_mean(rule: str) -> None:
    model = build(rule, Rot90())
    x = torch.randn(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    views = model.views(x)
    found = model.explain(x)
    torch.testing.assert_close(found.output, model(x), rtol=0, atol=1e-14)
    assert torch.equal(found.output, model.weighting(views))
    torch.testing.assert_close(found.weights.sum(0), torch.ones_like(found.weights[0]))
    mean = average(views.undone, found.weights)
    torch.testing.assert_close(mean, found.output, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.best, found.scores.argmax(dim=0))
    high = found.scores.sort(dim=0, descending=True).values
    assert torch.equal(found.margin, high[0] - high[1])
    far = (views.undone - views.undone.mean(0)).square().mean(dim=(0, 2)).sqrt()
    torch.testing.assert_close(found.spread, far)


@pytest.mark.parametrize("rule", RULES)
def test_it_costs_no_further_pass(rule: str) -> None:
    model = build(rule, Rot90())
    model.explain(upright())
    assert model.model.sizes == [12]


@given(
    seed=st.integers(0, 2**16),
    rule=st.sampled_from([name for name in RULES if name != "identity"]),
)
@settings(max_examples=40, deadline=None)
def test_a_turned_input_has_the_same_explanation_of_turned_views(seed: int, rule: str) -> None:
    action = DihedralImage()
    group = action.group
    model = build(rule, action)
    x = torch.randn(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)).double()
    found = model.explain(x)
    for h in group.elements:
        turned = model.explain(action.act(h, x))
        torch.testing.assert_close(turned.output, found.output, rtol=0, atol=1e-10)
        # The view g of hx is the view gh of x.
        same = group.table[:, h]
        torch.testing.assert_close(turned.weights, found.weights[same], rtol=0, atol=1e-10)
        torch.testing.assert_close(turned.margin, found.margin, rtol=0, atol=1e-10)
        torch.testing.assert_close(turned.spread, found.spread, rtol=0, atol=1e-10)
        if bool((found.margin > 1e-9).all()):
            assert torch.equal(turned.moved_by, group.table[h, found.moved_by])


def test_ties_single_views_and_numbers_that_are_none() -> None:
    def weigh(loss: list[float], ties: Any = "first") -> Any:
        views = torch.arange(len(loss), dtype=torch.float64)[:, None, None]
        action = Rot90() if len(loss) == 4 else PermuteAxis(trivial(), torch.zeros(1, 1).long())
        net = nn.Identity()
        rule = Select(lambda outputs: torch.tensor(loss)[:, None], ties)
        model = Equivariant(net, action, Invariant(action.group), rule)
        model.views = lambda x: Views(views, views, views)  # type: ignore[method-assign]
        return model.explain(views[0])

    nan, inf = float("nan"), float("inf")
    tied = weigh([2.0, 1.0, 1.0, 3.0], "average")
    assert tied.weights[:, 0].tolist() == [0, 0.5, 0.5, 0]
    assert tied.margin.tolist() == [0] and tied.best.tolist() == [1]
    assert weigh([nan, 5.0, 4.0, nan]).best.tolist() == [2]
    assert weigh([nan, 5.0, 4.0, nan]).margin.tolist() == [1]
    assert weigh([inf, inf, inf, inf]).margin.tolist() == [0]
    assert weigh([nan, nan, nan, nan]).best.tolist() == [0]
    alone = weigh([3.0])
    assert alone.margin.tolist() == [inf]
    assert (alone.best.tolist(), alone.moved_by.tolist()) == ([0], [0])
    assert alone.spread.tolist() == [0]


def test_one_weight_per_token_and_trees() -> None:
    class Tagger(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": x, "words": x.argmax(dim=-1), "sums": x.sum(dim=(1, 2))}

    action = Rot90()
    x = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    rule = Select(lambda tree: -tree["scores"].flatten(2)[..., 0])
    found = Equivariant(Tagger(), action, Invariant(action.group), rule).explain(x)
    assert set(found.spread) == {"scores", "words", "sums"}
    assert all(value.shape == (2,) for value in found.spread.values())
    assert found.spread["sums"].abs().max() < 1e-5
    net = LambdaNet(5, hidden=4)
    learned = Learned(net, features=lambda x: x)
    found = Equivariant(nn.Linear(5, 3), action, Invariant(action.group), learned).explain(x)
    assert found.weights.shape == (4, 2, 5)
    assert found.best.shape == found.margin.shape == found.moved_by.shape == (2, 5)


def test_a_rule_of_ones_own_that_does_not_tell_is_named() -> None:
    class Mine(Weighting):
        def forward(self, views: Views) -> Tensor:
            return views.undone.amax(dim=0)

    action = Rot90()
    model = Equivariant(Net(), action, Invariant(action.group), Mine())
    with pytest.raises(NotImplementedError, match="Mine does not tell its weights: define weigh"):
        model.explain(upright())
