"""Export, ONNX and compilation of every rule; training in several processes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equitune import losses
from equitune.actions import Invariant, Rot90
from equitune.averaging import average
from equitune.rules import Identity, Learned, Select, SoftSelect, Uniform, Views, Weighting
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

TURNS = Rot90()
SAME = Invariant(TURNS.group)
X = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
MORE = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
BATCH = torch.export.Dim("batch", min=1, max=64)


def energy(inputs: Tensor) -> Tensor:
    """A loss of the inputs, [G, B]."""
    return (inputs * torch.arange(4.0)).mean(dim=(-3, -2, -1))


def surprise(views: Views) -> Tensor:
    """The distance of each view from the mean of all, [G, B]."""
    return (views.undone - average(views.undone)).square().mean(dim=-1)


RULES: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "identity": lambda: Identity(TURNS.group),
    "select": lambda: Select(losses.entropy),
    "select average": lambda: Select(losses.entropy, ties="average"),
    "straight-through": lambda: Select(losses.entropy, straight_through="mean"),
    "select by inputs": lambda: Select(energy, reads="inputs"),
    "select by a module": lambda: Select(
        nn.Sequential(nn.Flatten(2), nn.Linear(16, 1), nn.Flatten(1)), reads="inputs"
    ),
    "soft select": lambda: SoftSelect(losses.max_probability, 0.5),
    "soft select by all": lambda: SoftSelect(surprise, 0.5, reads="views"),
    "learned": lambda: Learned(LambdaNet(16)),
    "learned of an encoder": lambda: Learned(
        LambdaNet(3), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    ),
    "learned of outputs": lambda: Learned(LambdaNet(5), reads="outputs"),
    "learned of features": lambda: Learned(LambdaNet(8), reads="features"),
}


def build(rule: str, **options: Any) -> Equivariant:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU())
    return Equivariant(backbone, TURNS, SAME, RULES[rule](), head=nn.Linear(8, 5), **options).eval()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("unchecked")
def test_exported_saved_and_loaded_for_any_batch(rule: str) -> None:
    model = build(rule)
    program = torch.export.export(model, (X,), dynamic_shapes=({0: BATCH},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for x in (X, MORE, MORE[:1]):
        torch.testing.assert_close(loaded(x), model(x))


@pytest.mark.usefixtures("unchecked")
def test_exported_in_chunks() -> None:
    model = build("select", chunk=3)
    program = torch.export.export(model, (X,), dynamic_shapes=({0: BATCH},))
    torch.testing.assert_close(program.module()(MORE), model(MORE))


class Masked(nn.Module):
    """A model with a mask that returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(16, 5)

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.linear(x.flatten(1)) * mask[:, None], "image": x.tanh()}


@pytest.mark.usefixtures("unchecked")
def test_exported_and_compiled_with_a_mask_and_a_tree_of_outputs() -> None:
    rule = Select(lambda tree: losses.entropy(tree["logits"]))
    model = Equivariant(Masked(), TURNS, {"logits": SAME, "image": TURNS}, rule)
    program = torch.export.export(
        model, (X, torch.ones(2)), dynamic_shapes=({0: BATCH}, ({0: BATCH},))
    )
    mask = torch.rand(5)
    torch.testing.assert_close(program.module()(MORE, mask), model(MORE, mask))
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(MORE, mask=mask), model(MORE, mask))


@pytest.mark.parametrize("rule", ["select by inputs", "learned of features", "soft select by all"])
@pytest.mark.usefixtures("unchecked")
def test_rules_that_read_other_things_compile_whole(rule: str) -> None:
    """The other rules are compiled in the tests of the wrapper."""
    torch._dynamo.reset()
    model = build(rule, chunk=2, checkpoint=True)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    one, two = compiled(X), model(X)
    torch.testing.assert_close(one, two)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(two.sin().sum(), parameters)
    torch.testing.assert_close(torch.autograd.grad(one.sin().sum(), parameters), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_one_compiled_graph_for_every_batch() -> None:
    torch._dynamo.reset()
    model = build("select")
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    for x in (X, MORE, MORE[:3]):
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("unchecked")
def test_onnx(rule: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = build(rule)
    file = tmp_path / "model.onnx"
    torch.onnx.export(model, (X,), file, dynamo=True, dynamic_shapes=({0: BATCH},))
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = torch.from_numpy(session.run(None, {name: MORE.numpy()})[0])
    torch.testing.assert_close(found, model(MORE), rtol=1e-4, atol=1e-4)
