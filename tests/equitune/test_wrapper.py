"""The wrapper and its rules: one pass, exact special cases, state, precision and compilation."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equitune import losses
from equitune.actions import Action, Invariant, PermuteAxis, Rot90
from equitune.averaging import average, select, soft_select_weights
from equitune.checks import equivariance_error
from equitune.groups import FiniteGroup, cyclic, symmetric, trivial
from equitune.rules import Identity, Learned, Select, SoftSelect, Uniform, Views, Weighting
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

GROUP = symmetric(3)
PERMUTATIONS = GROUP.permutations
assert PERMUTATIONS is not None
ACTION = PermuteAxis(GROUP, PERMUTATIONS)
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

RULES: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "identity": lambda: Identity(GROUP),
    "select": lambda: Select(losses.entropy),
    "select average": lambda: Select(losses.entropy, ties="average"),
    "straight-through mean": lambda: Select(losses.entropy, straight_through="mean"),
    "straight-through identity": lambda: Select(
        losses.max_probability, straight_through="identity", group=GROUP
    ),
    "soft select": lambda: SoftSelect(losses.max_probability, 0.5),
    "learned": lambda: Learned(LambdaNet(3, hidden=5)),
}


def mlp(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, outputs))


def build(rule: str, model: nn.Module | None = None, action_out: Action = ACTION) -> Equivariant:
    torch.manual_seed(1)
    return Equivariant(model or mlp(), ACTION, action_out, RULES[rule]())


class Counting(nn.Module):
    """Notes the shapes that the wrapped model is called with."""

    def __init__(self) -> None:
        """Start with no calls."""
        super().__init__()
        self.inner = mlp()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Note the shape and pass x on."""
        self.shapes.append(tuple(x.shape))
        result: Tensor = self.inner(x)
        return result


def test_views_are_what_they_say() -> None:
    model = build("uniform")
    views = model.views(X)
    for g in GROUP.elements:
        moved = ACTION.act(g, X)
        assert torch.equal(views.inputs[g], moved)
        torch.testing.assert_close(views.outputs[g], model.model(moved))
        back = ACTION.act(GROUP.inverse(g), model.model(moved))
        torch.testing.assert_close(views.undone[g], back)


def test_rules_are_the_lambdas_of_eq_4() -> None:
    views = build("uniform").views(X)
    undone = views.undone
    loss = losses.entropy(views.outputs)
    assert torch.equal(RULES["uniform"]()(views), undone.mean(0))
    assert torch.equal(RULES["identity"]()(views), undone[GROUP.identity])
    assert torch.equal(RULES["select"]()(views), select(undone, loss).value)
    torch.manual_seed(1)
    learned = Learned(LambdaNet(3, hidden=5))
    assert torch.equal(learned(views), average(undone, learned.net(views.inputs)))
    soft = soft_select_weights(losses.max_probability(views.outputs), 0.5)
    assert torch.equal(RULES["soft select"]()(views), average(undone, soft))


@pytest.mark.parametrize("rule", RULES)
def test_one_batched_pass(rule: str) -> None:
    model = Counting()
    build(rule, model)(X)
    expected = [(4, 3)] if rule == "identity" else [(24, 3)]
    assert model.shapes == expected


def test_identity_need_not_be_element_zero() -> None:
    group = FiniteGroup([[1, 0], [0, 1]])
    action = PermuteAxis(group, torch.tensor([[1, 0, 2], [0, 1, 2]]))
    base = mlp()
    views = Equivariant(base, action, action).views(X)
    torch.testing.assert_close(Identity(group)(views), base(X))
    through = Select(losses.entropy, straight_through="identity", group=group)
    base.zero_grad()
    through(views).sum().backward()
    got = [parameter.grad.clone() for parameter in base.parameters() if parameter.grad is not None]
    base.zero_grad()
    base(X).sum().backward()
    torch.testing.assert_close(got, [parameter.grad for parameter in base.parameters()])


@pytest.mark.parametrize("rule", [*RULES, "per token"])
def test_trivial_group_is_the_bare_model_bit_for_bit(rule: str) -> None:
    action = PermuteAxis(trivial(), torch.arange(3)[None])
    base = mlp()
    if rule in ("identity", "straight-through identity"):
        weighting: Weighting = Identity(trivial())
    elif rule == "per token":
        weighting = Learned(nn.Linear(3, 1))
    else:
        weighting = RULES[rule]()
    model = Equivariant(base, action, action, weighting)
    assert torch.equal(model(X), base(X))
    # Also along the full path, which the wrapper would not take.
    assert torch.equal(weighting(model.views(X)), base(X))


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    """Gradients of a fixed function of the output, for the parameters of a model."""
    factor = torch.linspace(-1, 2, output.numel()).view(output.shape)
    return list(torch.autograd.grad((output * factor).sum(), list(model.parameters())))


def test_straight_through_gradients_are_those_of_the_stand_in() -> None:
    base = mlp()
    mean = gradients(base, build("uniform", base)(X))
    identity = gradients(base, base(X))
    hard = build("select", base)(X)
    through_mean = build("straight-through mean", base)(X)
    assert torch.equal(through_mean, hard)
    torch.testing.assert_close(gradients(base, through_mean), mean)
    through_identity = build("straight-through identity", base)
    torch.testing.assert_close(gradients(base, through_identity(X)), identity)
    assert not torch.allclose(gradients(base, hard)[0], mean[0])


def test_straight_through_makes_no_difference_without_gradients() -> None:
    with torch.no_grad():
        assert torch.equal(build("straight-through mean")(X), build("select")(X))


@pytest.mark.parametrize("rule", RULES)
def test_training_reaches_the_model_and_lambda(rule: str) -> None:
    model = build(rule)
    model(X).pow(2).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("rule", RULES)
def test_state_dict_holds_the_model_and_lambda_only(rule: str) -> None:
    model = build(rule, action_out=Invariant(GROUP))
    expected = {f"model.{key}" for key in model.model.state_dict()}
    if rule == "learned":
        expected |= {f"weighting.net.layers.{i}.{part}" for i in (0, 2) for part in WEIGHT_BIAS}
    assert set(model.state_dict()) == expected


WEIGHT_BIAS = ("weight", "bias")


@pytest.mark.parametrize("rule", ["uniform", "learned"])
def test_state_dict_round_trip(rule: str) -> None:
    model, other = build(rule), build(rule)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    assert not torch.equal(other(X), model(X))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(X), model(X))
    bare = mlp()
    bare.load_state_dict(
        {key[6:]: value for key, value in model.state_dict().items() if key[:6] == "model."}
    )
    assert torch.equal(bare(X), model.model(X))


def test_frozen_helpers_are_moved_but_not_saved_or_trained() -> None:
    features, judge = nn.Linear(3, 2), nn.Linear(3, 1)
    learned = Learned(LambdaNet(2, hidden=4), features=features)
    model = Equivariant(mlp(), ACTION, ACTION, learned)
    assert not any("features" in key for key in model.state_dict())
    assert not {id(p) for p in features.parameters()} & {id(p) for p in model.parameters()}
    model(X).sum().backward()
    assert features.weight.grad is None
    model.double()
    assert features.weight.dtype == torch.float64
    assert model(X.double()).dtype == torch.float64
    chooser = Select(lambda outputs: judge(outputs).squeeze(-1))
    scoring = Select(judge)
    assert list(chooser.parameters()) == list(scoring.parameters()) == []
    assert scoring.double().loss_fn is judge
    assert judge.weight.dtype == torch.float64


def test_features_that_are_not_frozen_are_part_of_the_model() -> None:
    features = nn.Linear(3, 2)
    learned = Learned(LambdaNet(2, hidden=4), features=features, frozen=False)
    model = Equivariant(mlp(), ACTION, ACTION, learned)
    assert "weighting.features.weight" in model.state_dict()
    model(X).pow(2).sum().backward()
    assert features.weight.grad is not None


def test_copies_are_independent() -> None:
    model = Equivariant(mlp(), ACTION, ACTION, Learned(LambdaNet(2), features=nn.Linear(3, 2)))
    twin = copy.deepcopy(model)
    assert torch.equal(twin(X), model(X))
    assert isinstance(model.weighting, Learned) and isinstance(model.weighting.features, nn.Linear)
    before = twin(X)
    nn.init.zeros_(model.weighting.features.weight)
    assert torch.equal(twin(X), before)


def test_one_weight_per_token() -> None:
    """A weight for every position of a sequence: lambda is [G, B, T], y is [G, B, T, V]."""
    action = PermuteAxis(GROUP, ACTION.forward_table)
    net = LambdaNet(3, hidden=4)
    base = nn.Linear(3, 3)
    model = Equivariant(base, action, action, Learned(net, features=lambda x: x))
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3))
    views = model.views(x)
    weights = net(views.inputs)
    assert weights.shape == (6, 2, 5)
    torch.testing.assert_close(model(x), average(views.undone, weights))
    assert equivariance_error(model, x, action, action) < 1e-5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(rule: str, dtype: torch.dtype) -> None:
    reference = build(rule)(X).float()
    output = build(rule).to(dtype)(X.to(dtype))
    assert output.dtype == dtype
    if "select" not in rule and "straight" not in rule:
        torch.testing.assert_close(output.float(), reference, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("rule", RULES)
def test_autocast(rule: str) -> None:
    model = build(rule)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(X)
        output.float().pow(2).sum().backward()
    assert output.dtype == torch.bfloat16
    assert all(parameter.grad is not None for parameter in model.parameters())
    if rule in ("uniform", "learned", "soft select"):
        torch.testing.assert_close(output.float(), build(rule)(X), rtol=0.03, atol=0.03)


def test_device_moves_reach_the_tables() -> None:
    # Not ACTION, which the other tests need where it is.
    action = PermuteAxis(GROUP, PERMUTATIONS)
    model = Equivariant(mlp(), action, action, Learned(LambdaNet(3))).to("meta")
    assert all(tensor.device.type == "meta" for tensor in [*model.buffers(), *model.parameters()])
    assert model(X.to("meta")).device.type == "meta"


def test_a_weighting_that_is_replaced_is_the_one_that_counts() -> None:
    model = build("identity")
    model.weighting = Uniform()
    assert torch.equal(model(X), build("uniform")(X))
    model.weighting = Identity(GROUP)
    assert torch.equal(model(X), model.model(X))


class InPlace(nn.Module):
    """Changes its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return -x, which x is then, too."""
        return x.neg_()


@pytest.mark.parametrize("chunk", [None, 2])
def test_what_a_model_changes_in_place_is_not_what_rules_read(chunk: int | None) -> None:
    x = X.clone()
    views = Equivariant(InPlace(), ACTION, ACTION, chunk=chunk).views(x)
    assert torch.equal(views.inputs, ACTION.orbit(X)) and torch.equal(x, X)
    assert torch.equal(views.outputs, -ACTION.orbit(X))
    split = Equivariant(mlp(), ACTION, ACTION, head=InPlace(), chunk=chunk).views(X)
    assert torch.equal(split.features, -split.outputs)


@pytest.mark.parametrize("make", [Select, lambda loss, reads: SoftSelect(loss, 1.0, reads)])
def test_evaluation_mode_reaches_the_network_of_a_choice(make: Callable[..., Weighting]) -> None:
    net = nn.Sequential(nn.Dropout(), nn.Linear(3, 1), nn.Flatten(1))
    model = Equivariant(mlp(), ACTION, ACTION, make(net, reads="inputs"))
    assert model.eval() is model and not net.training and torch.equal(model(X), model(X))
    model.train()
    assert model.model.training and not net.training


def test_train_and_eval_mode_reach_the_model() -> None:
    model = Equivariant(nn.Sequential(mlp(), nn.Dropout(0.5)), ACTION, ACTION)
    assert model.eval().model[1].training is False
    assert torch.equal(model(X), model(X))
    assert model.train().model[1].training is True
    assert not torch.equal(model(X), model(X))


def check_compiled(model: nn.Module, x: Tensor, backend: str) -> None:
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    expected = gradients(model, model(x))
    torch.testing.assert_close(gradients(model, compiled(x)), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("unchecked")
def test_compiled_graph_equals_eager(rule: str) -> None:
    check_compiled(build(rule), X, "aot_eager")


@pytest.mark.usefixtures("unchecked")
def test_compiled_images() -> None:
    base = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 5))
    action = Rot90()
    model = Equivariant(base, action, Invariant(action.group), Select(losses.entropy, "average"))
    check_compiled(model, torch.randn(2, 1, 4, 4), "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("gcc") is None and shutil.which("cc") is None, reason="inductor needs a C compiler"
)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("unchecked")
def test_compiled_by_inductor_equals_eager(rule: str) -> None:
    check_compiled(build(rule), X, "inductor")


class Pooled(nn.Module):
    """A model that loses its batch dim."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over the batch."""
        return x.mean(0)


VIEWS = Views(X[None], X[None], X[None])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: Equivariant(mlp(), ACTION, Invariant(cyclic(6))),
            ValueError,
            r"one group, got .*symmetric\(3\).* on inputs and .*cyclic\(6\).* on outputs",
        ),
        (
            lambda: Equivariant(mlp(), ACTION, ACTION, Identity(cyclic(6))),
            ValueError,
            r"weighting is for .*cyclic\(6\).*, the actions for .*symmetric\(3\)",
        ),
        (lambda: build("uniform")(torch.tensor(1.0)), ValueError, "batch dim, .* 0-dim tensor"),
        (lambda: build("identity")(torch.tensor(1.0)), ValueError, "must have a batch dim"),
        (lambda: build("uniform").views(torch.tensor(1.0)), ValueError, "must have a batch dim"),
        (lambda: build("uniform", Pooled())(X), ValueError, r"return \[24, ...\] for 24 views"),
        (lambda: build("uniform")(X[:, :2]), ValueError, "size 3 along dim -1, got 2"),
        (lambda: Select(losses.entropy, "last"), ValueError, "ties='last' is unknown"),
        (
            lambda: Select(losses.entropy, straight_through="soft"),
            ValueError,
            "straight_through='soft' is unknown: choose None, 'identity' or 'mean'",
        ),
        (
            lambda: Select(losses.entropy, straight_through="identity"),
            ValueError,
            "needs the group",
        ),
        (lambda: SoftSelect(losses.entropy, -1.0), ValueError, "temperature=-1.0 must be pos"),
        (lambda: Select(lambda y: y)(VIEWS), ValueError, r"loss must have .* got \(1, 4, 3\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_value(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_an_action_on_output_images_compiles_whole(unchecked: None) -> None:
    net = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
    model = Equivariant(net, Rot90(), Rot90())
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 1, 5, 5)
    torch.testing.assert_close(compiled(x), model(x))
    torch.testing.assert_close(model(x.rot90(1, (-2, -1))), model(x).rot90(1, (-2, -1)))


NET = torch.nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"action_in": Rot90},
            r"action_in must be an Action.* the class Rot90; write Rot90\(...\)",
        ),
        ({"action_out": "rot90"}, "action_out must be an Action.* got 'rot90'"),
        ({"weighting": "equizero"}, "weighting must be a Weighting.* got 'equizero'"),
        ({"weighting": losses.max_probability}, r"a Weighting.* write Select\(max_probability\)"),
        ({"weighting": Select}, "the class Select; write Select"),
        ({"weighting": LambdaNet(4)}, r"got LambdaNet; write Learned\(LambdaNet\(...\)\)"),
        (
            {"model": lambda x: NET(x).exp()},
            "model must be a module, got the function <lambda>: its",
        ),
        ({"model": NET.forward}, "got the function forward: its weights would not be found"),
        ({"model": torch.nn.Linear}, r"got the class Linear; write Linear\(...\)"),
        ({"model": "resnet18"}, r"model must be a module \(torch.nn.Module\), got 'resnet18'"),
        ({"head": torch.nn.Linear}, r"head must be a module .* the class Linear; write"),
        ({"action_out": {"a": Rot90}}, "action_out.a must be an Action.* the class Rot90"),
        ({"action_out": {}}, "action_out must be an Action, .* or a tree of such, got {}"),
        ({"keyword_actions": {"mask": "rot90"}}, "keyword_actions.mask must be an Action"),
    ],
)
def test_what_is_no_action_or_weighting_is_refused_with_what_to_write(
    given: dict[str, Any], message: str, unchecked: None
) -> None:
    action = Rot90()
    parts = {"model": NET, "action_in": action, "action_out": Invariant(action.group), **given}
    with pytest.raises(TypeError, match=message) as error:
        Equivariant(**parts)
    assert "\n" not in str(error.value)


def test_an_input_without_a_batch_is_told_so(unchecked: None) -> None:
    action = Rot90()
    net = torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.Linear(4 * 3 * 4 * 4, 2))
    model = Equivariant(net, action, Invariant(action.group))
    with pytest.raises(ValueError, match=r"views of 3 inputs, .* one input alone is x\[None\]"):
        model(torch.randn(3, 4, 4))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("weighting", [Uniform(), Identity(cyclic(4))], ids=["views", "bare"])
def test_other_things_than_tensors_are_refused_on_both_paths(weighting: Weighting) -> None:
    action = Rot90()
    outputs: list[Any] = [None]
    net: Any = torch.nn.Module()
    net.forward = lambda x: outputs[0]
    model: Any = Equivariant(net, action, Invariant(action.group), weighting)
    x = torch.zeros(2, 3, 3)
    for given in ([x], {"x": x}, x.numpy(), None):
        with pytest.raises(TypeError, match=r"the input must be one tensor \[batch, ...\], got "):
            model(given)
        with pytest.raises(TypeError, match="the input must be one tensor"):
            equivariance_error(model, given, action, model.action_out)
    for outputs[0], message in (
        (
            {"logits": x, "cache": {0: 3}},
            "got int as output.cache.0; name the part .* output='logi",
        ),
        ((x, "text"), "got str as output.1"),
        (3.0, "a tensor, or tensors in tuples, .* got float; name"),
        (None, "must return tensors, got none"),
        ({}, "must return tensors, got none"),
    ):
        with pytest.raises(TypeError, match=message) as error:
            model(x)
        assert "\n" not in str(error.value)
        with pytest.raises(TypeError, match=message):
            equivariance_error(net, x, action, model.action_out)
    for outputs[0] in (torch.zeros(()), torch.zeros(5, 2)):
        with pytest.raises(ValueError, match="the model must return"):
            model(x)
