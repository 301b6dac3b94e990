"""The compiled trainer of the group models against PyTorch, and its matrix products.

Compiling a cell in one precision takes about 35 s the first time; numba then keeps it on disk.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from experiments.scan.kernels import group_layout, matrix
from experiments.scan.kernels.group_kernel import GroupTrainer
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.training import Settings
from tests.experiments.scan.test_group_model import ACTIONS, cyclic_actions, error
from tests.experiments.scan.test_kernel import KERNEL_CELLS, deviation

ITERATIONS = 60
CLIP = 1.0
DECAY = 1e-4
# Words that no element but the identity of any group below leaves alone together.
MARKERS = [2, 4, 5, 7]


def make_stream() -> Stream:
    """Random commands of 4-9 words and targets of 1-48 words, EOS appended to both.

    Every command has the markers at random places. Without them some commands would be left alone
    by the group, the words of an orbit would be equally likely, and rounding would choose the word
    that is fed back.
    """
    rng = np.random.default_rng(3)
    commands, targets = [], []
    for _ in range(20):
        words = [*MARKERS, *rng.integers(2, 15, rng.integers(0, 6))]
        commands.append([*rng.permutation(words), 1])
        targets.append([*rng.integers(2, 8, rng.integers(1, 16)), 1])
    commands[0] = [1]
    targets[18] = [*rng.integers(2, 8, 48), 1]
    samples = rng.integers(1, 20, ITERATIONS)
    samples[[7, 8]] = 18
    # A command of EOS alone, the shortest there can be, is left alone by the group.
    samples[5] = 0
    teacher = rng.random(ITERATIONS) < 0.5
    teacher[5] = True
    return Stream.pack(commands, targets, samples, teacher)


def make_settings(lr: float = 1e-3) -> Settings:
    """Hyper-parameters of the runs below; the loss is the mean over the positions used."""
    options: dict[str, Any] = {"weight_decay": DECAY, "clip": CLIP, "dropout": 0.0, "seed": 0}
    if "reduction" in {field.name for field in dataclasses.fields(Settings)}:
        options["reduction"] = "mean"
    return Settings(lr=lr, **options)


def make_model(
    cell: str, group: str, dtype: torch.dtype, hidden: int = 4, word_bias: str = "tied"
) -> GroupSeq2Seq:
    """A fresh model that says EOS often enough for the loss to stop early at times."""
    torch.manual_seed(1)
    actions = {**ACTIONS, "cyclic(3)": cyclic_actions(3), "trivial": cyclic_actions(1)}[group]
    model = GroupSeq2Seq(cell, *actions, hidden=hidden, word_bias=word_bias).to(dtype)
    with torch.no_grad():
        model.decoder.out.bias[GroupSeq2Seq.EOS] += 0.1
        model.decoder.out.weight[GroupSeq2Seq.EOS] *= 3
    return model


class Reference:
    """One training iteration written with autograd, and what it met."""

    def __init__(self, model: GroupSeq2Seq, lr: float) -> None:
        self.model = model
        self.halves = [list(half.parameters()) for half in (model.encoder, model.decoder)]
        self.optimizers = [
            torch.optim.Adam(half, lr=lr, weight_decay=DECAY) for half in self.halves
        ]
        self.stops: set[tuple[bool, bool]] = set()
        self.norms: list[float] = []

    def log_probs(self, command: Tensor, target: Tensor, teacher: bool) -> Tensor:
        """One row per decoded word, up to the first whose likeliest word is EOS."""
        state, word, rows = self.model.encode(command[None]), torch.tensor([0]), []
        for true in target:
            row, state = self.model.step(state, word)
            rows.append(row[0])
            best = row.detach().argmax(dim=1)
            if best.item() == GroupSeq2Seq.EOS:
                break
            word = true[None] if teacher else best
        return torch.stack(rows)

    def step(self, stream: Stream, i: int) -> float:
        command, target = (torch.tensor(x).long() for x in (stream.command(i), stream.target(i)))
        log_probs = self.log_probs(command, target, bool(stream.teacher[i]))
        self.stops.add((bool(stream.teacher[i]), len(log_probs) < len(target)))
        loss = F.nll_loss(log_probs, target[: len(log_probs)])
        self.model.zero_grad()
        loss.backward()
        self.gradients = {n: p.grad.clone() for n, p in self.model.named_parameters()}
        for half, optimizer in zip(self.halves, self.optimizers, strict=True):
            self.norms.append(float(torch.nn.utils.clip_grad_norm_(half, CLIP)))
            optimizer.step()
        return loss.item()

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and moments under the trainers' names."""
        state = {}
        for optimizer in self.optimizers:
            names = {id(p): name for name, p in self.model.named_parameters()}
            for parameter, slot in optimizer.state.items():
                name = names[id(parameter)]
                state[f"model.{name}"] = parameter.detach()
                state.update({f"{key}.{name}": slot[key] for key in ("exp_avg", "exp_avg_sq")})
        return state


class Comparison:
    """Both run side by side from the same model; keeps the largest relative deviations."""

    def __init__(self, model: GroupSeq2Seq, iterations: int, lr: float = 1e-3) -> None:
        stream = make_stream()
        fast = GroupTrainer(model, make_settings(lr))
        self.reference = Reference(model, lr)
        self.loss = self.gradient = 0.0
        for i in range(iterations):
            loss, found = self.reference.step(stream, i), fast.run(stream, i, i + 1)[0]
            self.loss = max(self.loss, abs(found - loss) / loss)
            gradients = fast.gradients()
            worst = max(deviation(gradients[n], g) for n, g in self.reference.gradients.items())
            self.gradient = max(self.gradient, worst)
        state = fast.state_dict()
        expected = self.reference.state_dict()
        assert state.keys() == {*expected, "iteration"}
        assert state["iteration"] == iterations
        self.state = {name: deviation(state[name], tensor) for name, tensor in expected.items()}


GROUPS_AND_BIASES = [
    ("cyclic(4)", "tied"),
    ("cyclic(2)", "tied"),
    ("symmetric(3)", "tied"),
    ("symmetric(3)", "free"),
    ("cyclic(3)", "tied"),
    ("trivial", "tied"),
]


@pytest.mark.parametrize("cell", KERNEL_CELLS)
@pytest.mark.parametrize(("group", "word_bias"), GROUPS_AND_BIASES)
def test_agrees_with_autograd_in_float64(cell: str, group: str, word_bias: str) -> None:
    result = Comparison(make_model(cell, group, torch.float64, word_bias=word_bias), 30)
    assert result.loss < 1e-10
    assert result.gradient < 1e-10
    assert max(result.state.values()) < 1e-10
    if group == "cyclic(4)":
        # These runs must have met what they are meant to compare.
        assert min(result.reference.norms) < CLIP < max(result.reference.norms)
        assert len(result.reference.stops) == 4, "(teacher forcing, early stop) in all combinations"


@pytest.mark.parametrize("cell", KERNEL_CELLS)
def test_agrees_with_autograd_at_the_real_width(cell: str) -> None:
    result = Comparison(make_model(cell, "cyclic(4)", torch.float64, hidden=64), 6)
    assert result.loss < 1e-10
    assert result.gradient < 1e-10
    assert max(result.state.values()) < 1e-8


def test_agrees_with_autograd_in_float32() -> None:
    # Looser, because rounding accumulates in Adam's square root over the iterations.
    model = make_model("RNN", "cyclic(2)", torch.float32, hidden=16)
    result = Comparison(model, 20, lr=1e-4)
    assert result.loss < 1e-5
    assert result.gradient < 2e-5
    assert max(v for name, v in result.state.items() if name.startswith("model.")) < 2e-6


@pytest.mark.parametrize(
    ("cell", "dtype", "bound"),
    [("LSTM", torch.float64, 1e-10), ("RNN", torch.float32, 1e-4)],
)
def test_training_keeps_tied_models_equivariant(
    cell: str, dtype: torch.dtype, bound: float
) -> None:
    model = make_model(cell, "symmetric(3)", dtype, hidden=8)
    trainer = GroupTrainer(model, make_settings(lr=1e-2))
    losses = trainer.run(make_stream(), 0, 50)
    assert losses[-10:].mean() < losses[:10].mean()
    trainer.export(model)
    assert error(model) < bound


def test_free_biases_move_apart_in_training() -> None:
    model = make_model("LSTM", "symmetric(3)", torch.float64, word_bias="free")
    with torch.no_grad():
        model.decoder.out.bias.zero_()
    assert error(model) < 1e-10
    trainer = GroupTrainer(model, make_settings(lr=1e-2))
    trainer.run(make_stream(), 0, 50)
    trainer.export(model)
    assert error(model) > 1e-3


@pytest.fixture(scope="module")
def whole_run() -> tuple[np.ndarray, dict[str, Tensor]]:
    trainer = GroupTrainer(make_model("RNN", "cyclic(4)", torch.float32), make_settings())
    return trainer.run(make_stream(), 0, ITERATIONS), trainer.state_dict()


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, ITERATIONS), reload=st.booleans())
def test_chunks_and_resume_do_not_change_a_bit(whole_run: Any, cut: int, reload: bool) -> None:
    stream, model = make_stream(), make_model("RNN", "cyclic(4)", torch.float32)
    trainer = GroupTrainer(model, make_settings())
    losses = trainer.run(stream, 0, cut)
    if reload:
        state = load(save(trainer.state_dict()))
        trainer = GroupTrainer(
            GroupSeq2Seq("RNN", *ACTIONS["cyclic(4)"], hidden=4), make_settings()
        )
        trainer.load_state_dict(state)
    losses = np.concatenate((losses, trainer.run(stream, cut, ITERATIONS)))
    expected_losses, expected_state = whole_run
    np.testing.assert_array_equal(losses, expected_losses)
    state = trainer.state_dict()
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(state[name], expected_state[name]) for name in state)


def test_the_model_is_left_alone_until_export(whole_run: Any) -> None:
    model = make_model("RNN", "cyclic(4)", torch.float32)
    before = [p.detach().clone() for p in model.parameters()]
    trainer = GroupTrainer(model, make_settings())
    trainer.run(make_stream(), 0, 5)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    trainer.export(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, trainer.state_dict()[f"model.{name}"])
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_layout_is_inverted_and_refuses_other_shapes() -> None:
    model = make_model("GRU", "product", torch.float32)
    tensors = dict(model.named_parameters())
    flat = group_layout.flatten(model, tensors)
    found = group_layout.unflatten(model, flat)
    assert flat.size == sum(p.numel() for p in model.parameters())
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    weights = group_layout.views(model, flat)
    word, context = model.decoder.combine.weight.detach().chunk(2, dim=1)
    np.testing.assert_array_equal(weights.w_word, word.flatten(0, 1))
    np.testing.assert_array_equal(weights.w_context, context.flatten(0, 1))
    with pytest.raises(ValueError, match=r"decoder\.out\.bias is \(3,\), not \(8,\)"):
        group_layout.flatten(model, {**tensors, "decoder.out.bias": torch.zeros(3)})


def test_dropout_and_ranges_are_refused() -> None:
    model, stream = make_model("RNN", "cyclic(2)", torch.float32), make_stream()
    with pytest.raises(ValueError, match=r"no dropout, got a rate of 0\.1"):
        GroupTrainer(model, dataclasses.replace(make_settings(), dropout=0.1))
    trainer = GroupTrainer(model, make_settings())
    with pytest.raises(ValueError, match="start is 3 but 0"):
        trainer.run(stream, 3, 5)
    with pytest.raises(ValueError, match=r"target words must lie in 0\.\.7"):
        trainer.run(Stream.pack([[2, 1]], [[9, 1]], [0], [True]), 0, 1)


# --- products -----------------------------------------------------------------------------


@numba.njit
def _products(
    y: np.ndarray, x: np.ndarray, w: np.ndarray, d: np.ndarray, back: np.ndarray, outer: np.ndarray
) -> None:
    matrix.add_product(y, x, w)
    matrix.add_product_transposed(back, d, w)
    matrix.outer_sum(outer, x, d)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 11),
    inner=st.integers(1, 13),
    columns=st.integers(1, 40),
    single=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_equal_numpy_and_stay_inside(
    rows: int, inner: int, columns: int, single: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    x, w, d = (
        rng.normal(size=shape).astype(dtype)
        for shape in ((rows, inner), (inner, columns), (rows, columns))
    )
    # One row more than is handed over, which must keep its values.
    y, back, outer = (
        np.ones((n + 1, m), dtype) for n, m in ((rows, columns), (rows, inner), (inner, columns))
    )
    _products(y[:rows], x, w, d, back[:rows], outer[:inner])
    tolerance = 1e-4 if single else 1e-12
    np.testing.assert_allclose(y[:rows], 1 + x @ w, atol=tolerance)
    np.testing.assert_allclose(back[:rows], 1 + d @ w.T, atol=tolerance)
    np.testing.assert_allclose(outer[:inner], x.T @ d, atol=tolerance)
    assert (y[rows] == 1).all() and (back[rows] == 1).all() and (outer[inner] == 1).all()
