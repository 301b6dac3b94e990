"""The compiled SCAN trainer against its specification in PyTorch.

Compiling a cell in one precision takes about 15 s the first time; numba then keeps it on disk. So
single precision is that of the LSTM, and of the RNN where the tests of whole runs train it as well.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from safetensors.torch import load, save

from experiments.frame.errors import UserError
from experiments.scan import backends
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.training import Settings, Stream, TorchTrainer, sequence_loss
from experiments.scan.trainers import make_trainer

ITERATIONS = 60
KERNEL_CELLS = [
    "LSTM",
    pytest.param("GRU", marks=pytest.mark.slow),
    pytest.param("RNN", marks=pytest.mark.slow),
]


def make_stream() -> Stream:
    """Random commands of 1-9 words and targets of 1-48 words, EOS appended to both."""
    rng = np.random.default_rng(3)
    commands = [[*rng.integers(2, 15, rng.integers(1, 10)), 1] for _ in range(20)]
    targets = [[*rng.integers(2, 8, rng.integers(1, 16)), 1] for _ in range(18)]
    targets += [[*rng.integers(2, 8, 48), 1], [*rng.integers(2, 8, 1), 1]]
    samples = rng.integers(0, 20, ITERATIONS)
    samples[[7, 8]] = 18
    return Stream.pack(commands, targets, samples, rng.random(ITERATIONS) < 0.5)


def make_model(cell: str, dtype: torch.dtype) -> Seq2Seq:
    """A fresh model that says EOS often enough for the loss to stop early at times."""
    torch.manual_seed(1)
    model = Seq2Seq(cell).to(dtype)
    with torch.no_grad():
        model.decoder.out.bias[Seq2Seq.EOS] += 0.1
        model.decoder.out.weight[Seq2Seq.EOS] *= 3
    return model


class Comparison:
    """Both trainers run side by side; keeps the largest relative deviations."""

    def __init__(self, cell: str, dtype: torch.dtype, iterations: int, lr: float = 1e-3) -> None:
        stream = make_stream()
        model = make_model(cell, dtype)
        options = Settings(lr=lr, weight_decay=1e-4, dropout=0.1, seed=5)
        spec = make_trainer(model, options, "torch")
        assert isinstance(spec, TorchTrainer)
        fast: Any = make_trainer(model, options, "numba")
        self.loss = self.gradient = 0.0
        self.stops: set[tuple[bool, bool]] = set()
        self.norms: list[float] = []
        for i in range(iterations):
            spec.model.zero_grad()
            target = torch.from_numpy(stream.target(i)).long()
            log_probs = spec.log_probs(stream, i)
            sequence_loss(log_probs, target).backward()
            ends = (log_probs[: len(target) - 1].argmax(dim=1) == Seq2Seq.EOS).any()
            self.stops.add((bool(stream.teacher[i]), bool(ends)))
            expected = {n: p.grad.clone() for n, p in spec.model.named_parameters()}
            loss, found = spec.run(stream, i, i + 1)[0], fast.run(stream, i, i + 1)[0]
            self.loss = max(self.loss, abs(found - loss) / loss)
            gradients = fast.gradients()
            self.gradient = max(
                self.gradient, *(deviation(gradients[n], g) for n, g in expected.items())
            )
            for half in ("encoder.", "decoder."):
                parts = [g.norm() for n, g in expected.items() if n.startswith(half)]
                self.norms.append(float(torch.stack(parts).norm()))
        self.state = {
            name: deviation(fast.state_dict()[name], tensor)
            for name, tensor in spec.state_dict().items()
        }


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference relative to the norm of the expected value."""
    return float((found - expected).double().norm() / expected.double().norm().clamp_min(1e-300))


@pytest.mark.parametrize("cell", KERNEL_CELLS)
def test_agrees_with_specification_in_float64(cell: str) -> None:
    result = Comparison(cell, torch.float64, 50)
    assert result.loss < 1e-6
    assert result.gradient < 1e-6
    assert max(result.state.values()) < 1e-6
    # The run must have met what it is meant to compare.
    assert min(result.norms) < 5 < max(result.norms)
    assert len(result.stops) == 4, "(teacher forcing, early stop) in all combinations"


def test_agrees_with_specification_in_float32() -> None:
    # Looser, because rounding accumulates in Adam's square root over 20 iterations.
    result = Comparison("LSTM", torch.float32, 20, lr=1e-4)
    assert result.loss < 1e-5
    assert result.gradient < 2e-5
    assert max(v for name, v in result.state.items() if name.startswith("model.")) < 2e-6


@pytest.fixture(scope="module")
def whole_run() -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    trainer = make_trainer(make_model("RNN", torch.float32), Settings(dropout=0.1, seed=2), "numba")
    return trainer.run(make_stream(), 0, ITERATIONS), trainer.state_dict()


@examples(max_examples=8, deadline=None)
@given(cut=st.integers(0, ITERATIONS), reload=st.booleans())
def test_chunks_and_resume_do_not_change_a_bit(whole_run: Any, cut: int, reload: bool) -> None:
    stream, model = make_stream(), make_model("RNN", torch.float32)
    trainer = make_trainer(model, Settings(dropout=0.1, seed=2), "numba")
    losses = trainer.run(stream, 0, cut)
    if reload:
        state = load(save(trainer.state_dict()))
        trainer = make_trainer(Seq2Seq("RNN"), Settings(dropout=0.1, seed=2), "numba")
        trainer.load_state_dict(state)
    losses = np.concatenate((losses, trainer.run(stream, cut, ITERATIONS)))
    expected_losses, expected_state = whole_run
    np.testing.assert_array_equal(losses, expected_losses)
    state = trainer.state_dict()
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(state[name], expected_state[name]) for name in state)


def test_seed_changes_the_run_and_the_model_is_left_alone(whole_run: Any) -> None:
    model = make_model("RNN", torch.float32)
    before = [p.detach().clone() for p in model.parameters()]
    trainer = make_trainer(model, Settings(dropout=0.1, seed=3), "numba")
    assert not np.array_equal(trainer.run(make_stream(), 0, ITERATIONS), whole_run[0])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    trainer.export(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, trainer.state_dict()[f"model.{name}"])
    assert not torch.equal(before[0], next(iter(model.parameters())))


def test_back_ends_exchange_states() -> None:
    stream, model = make_stream(), make_model("RNN", torch.float32)
    first = make_trainer(model, Settings(dropout=0.1, seed=4), "torch")
    first.run(stream, 0, 3)
    second = make_trainer(Seq2Seq("RNN"), Settings(dropout=0.1, seed=4), "numba")
    second.load_state_dict(first.state_dict())
    np.testing.assert_allclose(second.run(stream, 3, 5), first.run(stream, 3, 5), rtol=1e-5)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_run_refuses_what_it_cannot_continue_with(backend: str) -> None:
    trainer = make_trainer(Seq2Seq("RNN"), Settings(), backend)
    stream = make_stream()
    with pytest.raises(ValueError, match="start is 3 but 0"):
        trainer.run(stream, 3, 5)
    with pytest.raises(ValueError, match="stop is 61"):
        trainer.run(stream, 0, ITERATIONS + 1)
    with pytest.raises(ValueError, match=r"target words must lie in 0\.\.7"):
        trainer.run(Stream.pack([[2, 1]], [[9, 1]], [0], [True]), 0, 1)
    with pytest.raises(ValueError, match="51 words"):
        trainer.run(Stream.pack([[2, 1]], [[2] * 51], [0], [True]), 0, 1)


def test_loss_stops_after_the_first_predicted_end() -> None:
    probabilities = torch.full((4, 8), 0.05)
    probabilities[:, 2] = 0.65
    probabilities[1] = torch.tensor([0.05, 0.65, *[0.05] * 6])
    target = torch.tensor([2, 2, 2, 1])
    expected = -np.log(0.65) - np.log(0.05)
    assert sequence_loss(probabilities.log(), target).item() == pytest.approx(expected)
    assert sequence_loss(probabilities[:1].log(), target).item() == pytest.approx(-np.log(0.65))


@pytest.mark.parametrize("reason", ["numba is not installed", "NUMBA_DISABLE_JIT is set"])
def test_auto_falls_back_to_torch_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    if "installed" in reason:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    backends._warn_slow.cache_clear()
    with caplog.at_level(logging.WARNING):
        trainers = [make_trainer(Seq2Seq("RNN"), Settings()) for _ in range(2)]
    assert all(isinstance(trainer, TorchTrainer) for trainer in trainers)
    assert [record.message.split(":")[0] for record in caplog.records] == [reason]


@pytest.mark.parametrize(
    ("name", "value"),
    [("NUMBA_NUM_THREADS", "0"), ("NUMBA_NUM_THREADS", "many"), ("NUMBA_DISABLE_JIT", "yes")],
)
def test_a_variable_with_which_numba_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{name}={value} must be a whole number from [01]$"):
        backends.choose_backend("auto")


def test_where_nothing_can_be_written_kernels_are_kept_in_a_folder_of_our_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in such a folder is run, so that one which others can write is not taken."""
    from numba.core import caching

    from experiments.scan.kernels import training_kernel as kernel

    kind = caching.CompileResultCacheImpl
    named = [c for c in kind._locator_classes if "UserProvided" in c.__name__]
    assert named
    monkeypatch.setattr(kind, "_locator_classes", named)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def kept() -> Path:
        monkeypatch.setenv("NUMBA_CACHE_DIR", "")
        numba.config.reload_config()
        loop = copy.copy(kernel.LOOP)
        vars(loop).pop("native", None)
        return Path(loop.native.stats.cache_path).parent  # type: ignore[attr-defined]

    try:
        own = tmp_path / f"equitune-numba-{os.getuid()}"
        assert kept() == kept() == own
        assert own.stat().st_mode & 0o777 == 0o700
        own.chmod(0o777)
        other = kept()
        assert other != own and other.parent == tmp_path
        assert other.stat().st_mode & 0o777 == 0o700
    finally:
        monkeypatch.undo()
        numba.config.reload_config()


def test_make_trainer_refuses_unknown_choices() -> None:
    with pytest.raises(ValueError, match=r"'cuda'.*auto, numba, torch"):
        make_trainer(Seq2Seq("RNN"), Settings(), "cuda")
    with pytest.raises(ValueError, match=r"dropout rate 1\.0"):
        make_trainer(Seq2Seq("RNN"), Settings(dropout=1.0))


def test_stream_refuses_inconsistent_lists() -> None:
    with pytest.raises(ValueError, match="2 commands but 1 targets"):
        Stream.pack([[2, 1], [3, 1]], [[2, 1]], [0], [True])
    with pytest.raises(ValueError, match=r"samples must lie in 0\.\.0"):
        Stream.pack([[2, 1]], [[2, 1]], [1], [True])
    with pytest.raises(ValueError, match="none may be empty"):
        Stream.pack([[2, 1]], [[]], [0], [True])
