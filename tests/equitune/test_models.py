"""Models as they are: further arguments, trees of outputs, parts of them, split models."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from equitune import losses
from equitune.actions import Action, Invariant, Linear, PermuteAxis, Relabel, Rot90
from equitune.averaging import average, select
from equitune.checks import equivariance_error
from equitune.groups import cyclic, dihedral, symmetric, trivial
from equitune.rules import Identity, Learned, Select, SoftSelect, Uniform, Views, Weighting
from equitune.trees import leaves
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

EXACT = 1e-10
GROUP = symmetric(3)
PERMUTATIONS = GROUP.permutations
assert PERMUTATIONS is not None
ACTION = PermuteAxis(GROUP, PERMUTATIONS)
SAME = Invariant(GROUP)
SKEW = torch.tensor([[1.0, 0.3, 0.0], [0.0, 1.0, -0.4], [0.2, 0.0, 1.0]], dtype=torch.float64)
MATRICES = SKEW @ torch.eye(3, dtype=torch.float64)[PERMUTATIONS].transpose(1, 2) @ SKEW.inverse()
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@dataclass
class Answer:
    """What some models return."""

    scores: Tensor
    vectors: Tensor | None = None


class Pair(NamedTuple):
    """What other models return."""

    scores: Tensor
    vectors: Tensor


KINDS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "dict": lambda a, b: {"scores": a, "vectors": b},
    "ordered": lambda a, b: OrderedDict(scores=a, vectors=b),
    "dataclass": Answer,
    "named tuple": Pair,
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "nested": lambda a, b: {"first": (a, None), "second": [{"b": b}]},
}


class Anything(nn.Module):
    """Takes what it is given."""

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """Return the sum of all arguments."""
        return torch.stack([*args, *kwargs.values()]).sum(dim=0)


class Net(nn.Module):
    """Two outputs without symmetry, in a tree of some kind."""

    def __init__(self, kind: str = "dict", seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.kind = kind
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh()).double()
        self.scores, self.vectors = nn.Linear(8, 5).double(), nn.Linear(8, 3).double()
        self.calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        hidden = self.body(x)
        return KINDS[self.kind](self.scores(hidden), self.vectors(hidden))


def actions_for(kind: str, a: Action, b: Action) -> Any:
    if kind in ("dataclass", "named tuple", "ordered"):
        return {"scores": a, "vectors": b}
    return {"first": (a, a), "second": [{"b": b}]} if kind == "nested" else KINDS[kind](a, b)


def first(tree: Any) -> Tensor:
    """The scores of an output of any kind."""
    return next(leaf for _, leaf in leaves(tree, ""))


RULES: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "select": lambda: Select(lambda tree: losses.entropy(first(tree)), "average", tolerance=1e-9),
    "straight-through": lambda: Select(
        lambda tree: losses.entropy(first(tree)), straight_through="mean"
    ),
    "soft select": lambda: SoftSelect(lambda tree: losses.entropy(first(tree)), 0.1),
    "learned": lambda: Learned(LambdaNet(3, hidden=4)),
    "learned of outputs": lambda: Learned(LambdaNet(5, hidden=4), first, reads="outputs"),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_trees_with_an_action_for_each_part(kind: str, rule: str) -> None:
    actions = actions_for(kind, SAME, Linear(GROUP, MATRICES))
    net = Net(kind)
    torch.manual_seed(1)
    model = Equivariant(net, ACTION, actions, RULES[rule]()).double()
    output = model(X)
    assert type(output) is type(net(X))
    assert [path for path, _ in leaves(output, "")] == [path for path, _ in leaves(net(X), "")]
    assert equivariance_error(net, X, ACTION, actions) > 1e-3
    assert equivariance_error(model, X, ACTION, actions) < EXACT


@given(
    kind=st.sampled_from(list(KINDS)),
    rule=st.sampled_from(list(RULES)),
    seed=st.integers(0, 2**16),
    one=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_theorem_1_of_trees(kind: str, rule: str, seed: int, one: bool) -> None:
    group = dihedral(3)
    action = PermuteAxis(group, _triangle())
    matrices = torch.eye(3, dtype=torch.float64)[_triangle()].transpose(1, 2)
    actions = (
        Invariant(group) if one else actions_for(kind, Invariant(group), Linear(group, matrices))
    )
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    model = Equivariant(Net(kind, seed), action, actions, RULES[rule]()).double()
    assert equivariance_error(model, x, action, actions) < EXACT


def _triangle() -> Tensor:
    """Dihedral(3) on the corners of a triangle, [6, 3]."""
    corners = torch.arange(3)
    turns = [(corners + k) % 3 for k in range(3)]
    return torch.stack([*turns, *[(k - corners) % 3 for k in range(3)]])


@pytest.mark.parametrize("kind", KINDS)
def test_trivial_group_and_identity_return_what_the_model_returns(kind: str) -> None:
    net = Net(kind)
    alone = PermuteAxis(trivial(), torch.arange(3)[None])
    for model in (
        Equivariant(net, alone, Invariant(trivial())),
        Equivariant(net, alone, actions_for(kind, alone, alone), Identity(trivial())),
        Equivariant(net, ACTION, SAME, Identity(GROUP)),
    ):
        for found, expected in zip(leaves(model(X), ""), leaves(net(X), ""), strict=True):
            assert torch.equal(found[1], expected[1])


def test_actions_inside_of_trees_follow_the_model() -> None:
    net = nn.Linear(3, 3)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return self.net(x), x

    make = lambda: PermuteAxis(GROUP, PERMUTATIONS)  # noqa: E731
    model = Equivariant(Two(), make(), (make(), SAME), keyword_actions={"more": make()})
    assert set(model.state_dict()) == {"model.net.weight", "model.net.bias"}
    twin = copy.deepcopy(model).to("meta")
    assert {buffer.device.type for buffer in twin.buffers()} == {"meta"}
    assert twin(torch.zeros(2, 3, device="meta"))[1].device.type == "meta"
    assert {buffer.device.type for buffer in model.buffers()} == {"cpu"}


# Parts of outputs.


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("dict", "scores"),
        ("dataclass", "scores"),
        ("named tuple", "scores"),
        ("tuple", 0),
        ("list", lambda found: found[0]),
    ],
)
def test_a_part_of_the_output(kind: str, output: Any) -> None:
    net = Net(kind)
    model = Equivariant(net, ACTION, SAME, output=output)
    expected = first(Equivariant(net, ACTION, SAME)(X))
    assert torch.equal(model(X), expected)
    bare = Equivariant(net, ACTION, SAME, Identity(GROUP), output=output)
    assert torch.equal(bare(X), first(net(X)))


def test_an_attribute_of_an_object_of_another_kind() -> None:
    class Plain:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    class Other(nn.Module):
        def forward(self, x: Tensor) -> Plain:
            return Plain(x)

    model = Equivariant(Other(), ACTION, ACTION, output="logits")
    torch.testing.assert_close(model(X), X)


def test_the_dataclass_of_transformers_keeps_its_type() -> None:
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net("tuple")

        def forward(self, x: Tensor) -> Any:
            scores, vectors = self.net(x)
            return SequenceClassifierOutput(logits=scores, hidden_states=(x, vectors))

    model = Equivariant(Classifier(), ACTION, SAME)
    found = model(X)
    assert isinstance(found, SequenceClassifierOutput) and found.loss is None
    assert found["hidden_states"][1].shape == (4, 3)
    picked = Equivariant(model.model, ACTION, SAME, output="logits")
    assert torch.equal(picked(X), found.logits)


# Further arguments.


class Masked(nn.Module):
    """A mean over the words that a mask marks; and what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(4, 6).double()
        self.out = nn.Linear(6, 4).double()
        self.given: Any = None

    def forward(
        self, words: Tensor, mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        self.given = (mask, args, kwargs)
        mask = torch.ones_like(words) if mask is None else mask
        share = mask.double() / mask.sum(dim=1, keepdim=True)
        hidden = (self.embed(words) * share[..., None]).sum(dim=1)
        scores: Tensor = self.out(hidden.tanh())
        return scores


TURN = cyclic(3)
CYCLES = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3]])
WORDS = torch.tensor([[0, 1, 3, 3], [2, 0, 1, 3]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])


def test_a_mask_is_repeated_for_every_view() -> None:
    words, scores = Relabel(TURN, CYCLES), PermuteAxis(TURN, CYCLES)
    net = Masked()
    model = Equivariant(net, words, scores)
    expected = [scores.act(TURN.inverse(g), net(words.act(g, WORDS), MASK)) for g in range(3)]
    for found in (model(WORDS, MASK), model(WORDS, mask=MASK)):
        torch.testing.assert_close(found, torch.stack(expected).mean(0), rtol=0, atol=1e-14)
        assert torch.equal(net.given[0], MASK.repeat(3, 1))
    error = equivariance_error(lambda x: model(x, mask=MASK), WORDS, words, scores)
    assert error < EXACT


def test_what_does_not_begin_with_the_batch_is_passed_on() -> None:
    net = Masked()
    model = Equivariant(net, Relabel(TURN, CYCLES), PermuteAxis(TURN, CYCLES))
    table, flag = torch.randn(3, 2), torch.tensor(2.0)
    rows = torch.arange(2)
    model(WORDS, MASK, (rows, table), 7, state={"rows": rows, "list": [rows]}, flag=flag, name="a")
    _, args, kwargs = net.given
    repeated = rows.repeat(3)
    assert torch.equal(args[0][0], repeated) and args[0][1] is table and args[1] == 7
    assert torch.equal(kwargs["state"]["rows"], repeated)
    assert torch.equal(kwargs["state"]["list"][0], repeated)
    assert kwargs["flag"] is flag and kwargs["name"] == "a"
    bare = Equivariant(net, Relabel(TURN, CYCLES), PermuteAxis(TURN, CYCLES), Identity(TURN))
    assert torch.equal(bare(WORDS, mask=MASK), net(WORDS, MASK))


def test_an_argument_that_only_looks_like_a_batch_is_passed_on_if_told_so() -> None:
    net = Masked()
    model = Equivariant(
        net, Relabel(TURN, CYCLES), PermuteAxis(TURN, CYCLES), keyword_actions={"table": None}
    )
    table = torch.randn(2, 5)
    model(WORDS, MASK, table=table)
    assert net.given[2]["table"] is table


class Blended(nn.Module):
    """An image network that reads a second image."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weights = nn.Parameter(torch.randn(2, 9, 5, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if y is None:
            return x.flatten(1) @ self.weights[0]
        return (x.flatten(1) @ self.weights[0]).tanh() * (y.flatten(1) @ self.weights[1])


@given(seed=st.integers(0, 2**16), rule=st.sampled_from(["uniform", "select", "learned"]))
@settings(max_examples=20, deadline=None)
def test_theorem_1_with_an_argument_that_turns_too(seed: int, rule: str) -> None:
    turns = Rot90()
    same = Invariant(turns.group)
    rules = {
        "uniform": Uniform(),
        "select": Select(losses.entropy, "average", tolerance=1e-9),
        "learned": Learned(LambdaNet(9, hidden=4).double()),
    }
    model = Equivariant(Blended(seed), turns, same, rules[rule], keyword_actions={"y": turns})
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 3, 3, 3, generator=generator, dtype=torch.float64)
    expected = model(x, y=y)
    for g in turns.group.elements:
        found = model(turns.act(g, x), y=turns.act(g, y))
        torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
    assert not torch.allclose(model(turns.act(1, x), y=y), expected)
    assert torch.equal(model(x, y=None), model(x))


# Split models, and rules that read the features, the inputs, the outputs or all.


def split(weighting: Weighting | None = None, **options: Any) -> Equivariant:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(3, 6), nn.Tanh()).double()
    head = nn.Linear(6, 4).double()
    return Equivariant(backbone, ACTION, SAME, weighting, head=head, **options)


def distance(features: Tensor) -> Tensor:
    """A distance in feature space, [G, B]."""
    return (features - torch.linspace(-1, 1, 6, dtype=torch.float64)).square().sum(dim=-1)


def energy(inputs: Tensor) -> Tensor:
    """A canonicalization by a fixed energy of the input, [G, B]."""
    return (inputs * torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).sin().sum(dim=-1)


def joint(views: Views) -> Tensor:
    """A loss of everything, [G, B]."""
    return distance(views.features) + energy(views.inputs) + losses.entropy(views.outputs)


READERS: dict[str, Callable[[], Weighting]] = {
    "select by features": lambda: Select(distance, reads="features"),
    "select by inputs": lambda: Select(energy, reads="inputs"),
    "select by all": lambda: Select(joint, ties="average", tolerance=1e-9, reads="views"),
    "soft select by features": lambda: SoftSelect(distance, 0.5, reads="features"),
    "soft select by inputs": lambda: SoftSelect(energy, 0.5, reads="inputs"),
    "soft select by all": lambda: SoftSelect(joint, 0.5, reads="views"),
    "learned of features": lambda: Learned(LambdaNet(6), reads="features").double(),
    "learned of outputs": lambda: Learned(LambdaNet(4), reads="outputs").double(),
    "learned of both halves": lambda: Learned(LambdaNet(3), lambda f: f[:, :3], reads="features"),
}


@pytest.mark.parametrize("reader", READERS)
@given(seed=st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_theorem_1_of_rules_that_read_other_things(reader: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = split(READERS[reader]()).double()
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert equivariance_error(nn.Sequential(model.model, model.head), x, ACTION, SAME) > 1e-3
    assert equivariance_error(model, x, ACTION, SAME) < EXACT


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("reader", READERS)
def test_with_the_trivial_group_they_are_the_bare_model_bit_for_bit(
    reader: str, chunk: int | None
) -> None:
    whole = split()
    assert whole.head is not None
    bare = whole.head(whole.model(X))
    alone = PermuteAxis(trivial(), torch.arange(3)[None])
    rule = READERS[reader]().double()
    unchanged = Invariant(trivial())
    model = Equivariant(whole.model, alone, unchanged, rule, head=whole.head, chunk=chunk)
    assert torch.equal(model(X), bare)
    # Also along the path that the wrapper would not take.
    assert torch.equal(rule(model.views(X)), bare)
    assert torch.equal(model.explain(X).output, bare)


def test_rules_read_what_they_say() -> None:
    model = split()
    views = model.views(X)
    torch.testing.assert_close(views.features, model.model(views.inputs))
    assert model.head is not None
    torch.testing.assert_close(views.outputs, model.head(views.features))
    chosen = Select(distance, reads="features")(views)
    assert torch.equal(chosen, select(views.undone, distance(views.features)).value)
    chosen = Select(energy, reads="inputs")(views)
    assert torch.equal(chosen, select(views.undone, energy(views.inputs)).value)
    net = LambdaNet(6).double()
    weighed = Learned(net, reads="features")(views)
    torch.testing.assert_close(weighed, average(views.undone, net(views.features)))


def test_a_split_model_is_the_whole_one_and_runs_once() -> None:
    model = split(Learned(LambdaNet(6).double(), reads="features"))
    calls: list[int] = []
    model.model.register_forward_hook(lambda module, given, found: calls.append(len(found)))
    model(X)
    assert calls == [24]
    assert model.head is not None
    whole = nn.Sequential(model.model, model.head)
    assert torch.equal(split()(X), Equivariant(whole, ACTION, SAME)(X))
    assert torch.equal(split(Identity(GROUP))(X), whole(X))
    assert {key.split(".")[0] for key in model.state_dict()} == {"model", "head", "weighting"}


@pytest.mark.parametrize("reads", ["outputs", "features"])
def test_frozen_lambda_sends_no_gradient_into_the_model(reads: Any) -> None:
    width = {"outputs": 4, "features": 6}[reads]
    net = LambdaNet(width).double()
    found = {}
    for frozen in (True, False):
        model = split(Learned(net, reads=reads, frozen=frozen))
        loss = model(X).square().sum()
        found[frozen] = torch.autograd.grad(loss, next(model.model.parameters()))[0]
    views = split().views(X)
    assert not torch.allclose(found[True], found[False])
    assert views.outputs.requires_grad


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: split(output="logits")(X), ValueError, "output has no 'logits', it is a Tensor"),
        (
            lambda: Equivariant(Net(), ACTION, SAME, output="logits")(X),
            ValueError,
            "output has no 'logits', but 'scores', 'vectors'",
        ),
        (
            lambda: Equivariant(Net(), ACTION, {"scores": SAME})(X),
            ValueError,
            r"output has \['scores', 'vectors'\], but there are actions for \['scores'\]",
        ),
        (
            lambda: Equivariant(nn.Linear(3, 3).double(), ACTION, {"a": ACTION})(X),
            ValueError,
            r"output is one tensor, but there are actions for \['a'\]",
        ),
        (
            lambda: Equivariant(Net(), ACTION, {"scores": SAME, "vectors": Invariant(TURN)}),
            ValueError,
            r"one group, got .*symmetric\(3\).* on inputs and .*cyclic.* as action_out.vectors",
        ),
        (
            lambda: Equivariant(Net(), ACTION, SAME, keyword_actions={"m": Invariant(TURN)}),
            ValueError,
            "as keyword_actions.m",
        ),
        (
            lambda: Equivariant(Net(), ACTION, SAME, Select(distance, reads="features"))(X),
            ValueError,
            r"needs a split model: Equivariant\(backbone, ..., head=head\)",
        ),
        (
            lambda: Equivariant(Blended(0), ACTION, SAME, keyword_actions={"z": ACTION}),
            ValueError,
            r"keyword_actions has \['z'\], but the model takes \['y'\]",
        ),
        (
            lambda: Equivariant(Blended(0), ACTION, SAME, keyword_actions={"y": ACTION})(X, X),
            TypeError,
            "y is in keyword_actions: give it by name, y=",
        ),
        (
            lambda: Equivariant(Anything(), ACTION, SAME, keyword_actions={"y": ACTION})(X, X),
            TypeError,
            r"the model takes \*args: with keyword_actions give all further arguments by name",
        ),
        (
            lambda: Equivariant(Anything(), ACTION, SAME, keyword_actions={"z": ACTION})(X, y=X),
            ValueError,
            r"keyword_actions has \['z'\], but the call gives \['y'\]",
        ),
        (
            lambda: Equivariant(Net(), ACTION, SAME, Learned(nn.Linear(3, 1), lambda x: [x]))(X),
            TypeError,
            "reads a tensor .N, F., got list: give features=",
        ),
        (
            lambda: Equivariant(Net(), ACTION, SAME, SoftSelect(lambda y: y, 1.0), output="scores")(
                X
            ),
            ValueError,
            r"loss must have shape \[group, batch\], got \(6, 4, 5\)",
        ),
        (
            lambda: Equivariant(Blended(0), ACTION, SAME, keyword_actions={"y": ACTION})(X, y=[1]),
            TypeError,
            "y has an action: it must be a tensor, got list",
        ),
        (lambda: Select(distance, reads="input"), ValueError, "'input' is unknown: choose 'outp"),
        (lambda: Learned(LambdaNet(3), reads="views"), ValueError, "'views' is unknown: choose"),
        (lambda: Learned(LambdaNet), TypeError, "net must be a module, .* write LambdaNet"),
        (lambda: Learned(lambda x: x), TypeError, "net must be a module"),
        (
            lambda: Learned(LambdaNet(3), "outputs"),
            TypeError,
            r"got 'outputs'; the model's own outputs are Learned\(net, reads='outputs'\)",
        ),
        (lambda: Select("entropy"), TypeError, "loss_fn must be a function, .* got 'entropy'"),
        (lambda: SoftSelect(losses, 1.0), TypeError, "loss_fn must be a function"),
        (lambda: Select(LambdaNet), TypeError, "the class LambdaNet; write"),
        (
            lambda: Equivariant(Words(), ACTION, SAME)(X),
            TypeError,
            "average needs floating point views, got torch.int64",
        ),
        (
            lambda: Equivariant(Net(), ACTION, SAME, Select(losses.entropy))(X),
            TypeError,
            "a proxy loss reads one tensor, got dict",
        ),
    ],
)
def test_errors_name_the_value(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)


class Words(nn.Module):
    """Returns integers beside scores."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"scores": x, "words": x.argmax(dim=1)}


def test_integers_are_selected() -> None:
    rule = Select(lambda tree: losses.entropy(tree["scores"]))
    found = Equivariant(Words(), ACTION, SAME, rule)(X)
    assert found["words"].dtype == torch.int64
    assert torch.equal(found["words"], found["scores"].argmax(dim=1))
