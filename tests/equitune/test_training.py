"""Trainings: they improve what they train, leave the rest alone, and keep the best weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import equitune
from equitune import Equivariant, FiniteGroup, Invariant, LambdaNet, Learned, Rot90, fit

EXACT = 1e-10
GROUPS = [equitune.cyclic(4), equitune.dihedral(3), equitune.octahedral()]
RENAMED = FiniteGroup([[1, 2, 0], [2, 0, 1], [0, 1, 2]])  # its identity is element 2


class Upright(nn.Module):
    """Classifies 4 x 4 images well when upright; says little, and wrong things, when turned."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Linear(16, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(self.norm(x.flatten(1))))


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with a bright upper row; the class is the brighter upper corner."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64)
    x[:, :, 0] += 3
    return x, (x[:, 0, 0, 0] > x[:, 0, 0, 3]).long()


def wrapped(seed: int = 0, dropout: float = 0.0) -> Equivariant:
    """Lambda-equitune of a model that was trained on upright images."""
    torch.manual_seed(seed)
    model = Upright().double()
    with torch.no_grad():
        model.last.weight.zero_()
        model.last.weight[1, 0], model.last.weight[1, 3] = 3.0, -3.0
        model.last.weight += 0.5 * torch.randn(2, 16, dtype=torch.float64)
    turns = Rot90()
    net = LambdaNet(16, hidden=16, dropout=dropout, positive="exp").double()
    return Equivariant(model, turns, Invariant(turns.group), Learned(net))


def batches(seed: int, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    x, labels = images(32 * count, seed)
    return list(zip(x.split(32), labels.split(32), strict=True))


def weights(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(module: nn.Module, before: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(module), before, strict=True))


def entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def test_lambda_is_trained_and_the_model_stays() -> None:
    model, held_out = wrapped(), batches(2)
    model.model.last.bias.requires_grad_(False)
    before = weights(model.model)
    done = equitune.fit_lambda(model, batches(1), held_out, steps=200, every=20)
    assert same(model.model, before)
    assert done.held_out[done.chosen] == min(done.held_out.values()) < 0.6 * done.held_out[0]
    assert done.losses[-1] < done.losses[0] and done.diverged is None
    assert not model.training and not model.model.training and not model.weighting.training
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    assert [name for name, flag in flags.items() if not flag] == ["model.last.bias"]
    x = held_out[0][0]
    found = torch.stack([entropy(model, batch) for batch in held_out]).mean()
    assert float(found.detach()) == pytest.approx(done.held_out[done.chosen], abs=1e-12)
    assert equitune.equivariance_error(model, x, Rot90(), Invariant(equitune.cyclic(4))) < EXACT


def test_the_model_is_fine_tuned_and_lambda_stays() -> None:
    model = wrapped()
    before = weights(model.weighting)
    statistics = model.model.norm.running_mean.clone()
    adam = partial(torch.optim.Adam, lr=0.01)
    done = equitune.fine_tune(model, batches(1), batches(2), steps=100, every=20, optimiser=adam)
    assert same(model.weighting, before)
    assert torch.equal(model.model.norm.running_mean, statistics)
    assert done.held_out[done.chosen] < done.held_out[0]
    assert all(p.requires_grad for p in model.parameters())
    x = batches(3)[0][0]
    assert equitune.equivariance_error(model, x, Rot90(), Invariant(equitune.cyclic(4))) < EXACT


def test_it_is_the_plain_loop_bit_for_bit() -> None:
    model = wrapped(dropout=0.5)
    plain, data = copy.deepcopy(model), batches(1)
    torch.manual_seed(5)
    done = equitune.fit_lambda(model, data, steps=11, every=3)
    torch.manual_seed(5)
    plain.model.requires_grad_(False)
    plain.model.eval()
    optimiser = torch.optim.Adam(plain.weighting.parameters())
    losses = []
    for step in range(11):
        found = entropy(plain, data[step % 4])
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
        losses.append(float(found.detach()))
    assert same(model, weights(plain))
    assert done.losses == losses
    assert (done.chosen, done.held_out) == (11, {})


def line(start: float) -> nn.Module:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, start)
    return module


ONE_PER_STEP = partial(torch.optim.SGD, lr=1.0)


def test_the_best_weights_are_kept_and_patience_ends_the_training() -> None:
    module = line(0.0)

    def rises(step: int) -> Tensor:
        return -module.weight.sum()

    done = fit(
        module,
        range(100),
        rises,
        [0],
        lambda batch: (module.weight - 4).abs().sum(),
        every=2,
        patience=3,
        optimiser=ONE_PER_STEP,
    )
    assert done.held_out == {0: 4.0, 2: 2.0, 4: 0.0, 6: 2.0, 8: 4.0, 10: 6.0}
    assert (done.chosen, len(done.losses)) == (4, 10)
    assert module.weight.tolist() == [[4.0]]


def test_the_start_is_kept_where_nothing_is_better() -> None:
    module = line(0.5)
    done = fit(
        module,
        [0],
        lambda batch: module.weight.sum(),
        [0],
        lambda batch: module.weight.abs().sum(),
        steps=7,
        optimiser=ONE_PER_STEP,
    )
    assert done.chosen == 0 and module.weight.tolist() == [[0.5]]
    assert list(done.held_out) == [0, 7]


@pytest.mark.parametrize("held_out", [None, [0]])
def test_divergence_is_told_and_earlier_weights_are_kept(held_out: list[int] | None) -> None:
    module = line(1.0)

    def explodes(batch: int) -> Tensor:
        return (module.weight**2).sum()

    with pytest.warns(RuntimeWarning, match="diverged after .* steps; the weights of step"):
        done = fit(
            module,
            range(1000),
            explodes,
            held_out,
            every=10,
            optimiser=partial(torch.optim.SGD, lr=3.0),
        )
    assert done.diverged is not None and done.diverged % 10 == 0
    assert done.chosen == (0 if held_out else done.diverged - 10)
    assert bool(module.weight.isfinite()) and len(done.losses) == done.diverged


def test_a_metric_that_is_no_number_is_never_chosen() -> None:
    module = line(0.0)
    done = fit(
        module,
        [0],
        lambda batch: -module.weight.sum(),
        [0],
        lambda batch: (module.weight - 2.5).sqrt().sum(),
        steps=4,
        every=1,
        optimiser=ONE_PER_STEP,
    )
    assert done.chosen == 3 and math.isnan(done.held_out[0])


def test_a_generator_ends_the_training_and_a_list_is_repeated() -> None:
    module = line(0.0)
    seen: list[int] = []

    def loss(batch: int) -> Tensor:
        seen.append(batch)
        return module.weight.sum()

    looks: list[int] = []
    done = fit(module, iter([1, 2, 3]), loss, every=2, watch=lambda step, value: looks.append(step))
    assert (len(done.losses), looks) == (3, [2, 3])
    fit(module, [7, 8], loss, steps=3)
    assert seen == [1, 2, 3, 7, 8, 7]


def test_a_watch_may_stop_it_and_gradients_are_as_before() -> None:
    model = wrapped()
    model.model.norm.requires_grad_(False)

    def stop(step: int, value: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        equitune.fine_tune(model, batches(1), every=1, watch=stop)
    assert not any(p.requires_grad for p in model.model.norm.parameters())
    assert all(p.requires_grad for p in [*model.model.last.parameters()])
    assert all(p.requires_grad for p in model.weighting.parameters())


def tops(count: int, seed: int) -> Tensor:
    return images(count, seed)[0]


def test_the_prior_learns_which_view_is_upright_without_labels() -> None:
    torch.manual_seed(0)
    turns = Rot90()
    net = LambdaNet(16, positive="exp").double()
    orbits = [turns.orbit(tops(64, seed)).flatten(2) for seed in range(4)]
    held_out = [turns.orbit(tops(64, 9)).flatten(2)]
    done = equitune.fit_prior(net, orbits, turns.group, held_out, steps=300)
    assert done.held_out[0] == pytest.approx(math.log(4), abs=0.3)
    assert done.held_out[done.chosen] < 0.2
    x = tops(200, 10)
    scores = net(turns.orbit(x).flatten(2))
    assert float((scores.argmax(dim=0) == 0).double().mean()) > 0.95
    # Of images turned by one quarter, three more quarters make them upright.
    turned = net(turns.orbit(turns.act(1, x)).flatten(2))
    assert torch.equal(turned.argmax(dim=0), (scores.argmax(dim=0) - 1) % 4)


def test_the_prior_is_a_lambda_and_its_argmax_an_equizero() -> None:
    torch.manual_seed(0)
    turns = Rot90()
    unchanged = Invariant(turns.group)
    net = LambdaNet(16, positive="exp").double()
    equitune.fit_prior(net, [turns.orbit(tops(64, 0)).flatten(2)], turns.group, steps=50)
    model = Equivariant(Upright().double(), turns, unchanged, Learned(net)).eval()
    x = tops(20, 1)
    assert equitune.equivariance_error(model, x, turns, unchanged) < EXACT

    def hardest(x: Tensor) -> Tensor:
        views = model.views(x)
        chosen: Tensor = equitune.select(views.undone, -net(views.inputs.flatten(2))).value
        return chosen

    assert equitune.equivariance_error(hardest, x, turns, unchanged) < EXACT


@given(
    group=st.sampled_from([*GROUPS, RENAMED]),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_the_prior_loss_is_minus_log_softmax_at_the_identity(
    group: FiniteGroup, count: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(group.order, count, generator=generator, dtype=torch.float64)
    loss = equitune.prior_loss(scores.exp(), group)
    expected = -scores.log_softmax(dim=0)[group.identity].mean()
    assert abs(float(loss - expected)) < 1e-12
    assert float(equitune.prior_loss(torch.ones(group.order, count), group)) == pytest.approx(
        math.log(group.order)
    )


def no_batches() -> Iterator[int]:
    yield from ()


def test_what_the_user_froze_stays_as_it_is() -> None:
    model = wrapped()
    model.model.norm.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    equitune.fine_tune(model, batches(0), steps=3)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"model.last.weight", "model.last.bias"}
    model.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter to train that is not frozen"):
        equitune.fine_tune(model, batches(0))


def test_a_weighting_that_holds_a_part_of_the_model_is_refused() -> None:
    model = wrapped()
    net = LambdaNet(16, positive="exp").double()
    features = nn.Sequential(nn.Flatten(1), model.model.norm)
    shared = Equivariant(model.model, model.action_in, model.action_out, Learned(net, features))
    equitune.fit_lambda(shared, batches(0), steps=1)  # frozen, as it is by default
    shared.weighting = Learned(net, features, frozen=False)
    with pytest.raises(ValueError, match="holds a part of the model"):
        equitune.fit_lambda(shared, batches(0), steps=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(line(0.0), [0], lambda b: torch.zeros(()), steps=0), "steps=0 must be at"),
        (lambda: fit(line(0.0), [0], lambda b: torch.zeros(()), every=0), "every=0 must be at"),
        (
            lambda: fit(line(0.0), [0], lambda b: torch.zeros(())),
            "not depend on a parameter of Lin",
        ),
        (lambda: fit(line(0.0), no_batches(), lambda b: torch.zeros(())), "no batch to train on"),
        (lambda: fit(nn.ReLU(), [0], lambda b: torch.zeros(())), "ReLU has no parameter to train"),
        (
            lambda: fit(line(0.0), [0], lambda b: torch.zeros(()), no_batches()),
            "held_out has no batch",
        ),
        (
            lambda: equitune.fit_lambda(
                Equivariant(nn.Flatten(), Rot90(), Invariant(equitune.cyclic(4))), []
            ),
            "Uniform has no parameter to train",
        ),
        (
            lambda: equitune.fit_prior(LambdaNet(3, positive="none"), [], equitune.cyclic(2)),
            "needs positive weights: give LambdaNet positive='exp'",
        ),
        (
            lambda: equitune.fit_prior(LambdaNet(3), [torch.ones(4, 3)], equitune.cyclic(2)),
            r"\[2, batch, ...\] for cyclic\(2\), got shape \(4, 3\)",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_to_give(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
