"""Fine-tuning on an orbit: its specification, and the compiled trainer against it.

Compiling a cell in one precision takes about 25 s the first time; numba then keeps it on disk.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from experiments.scan.data import word_actions
from experiments.scan.kernels.finetune_kernel import FinetuneTrainer
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.objective import Objective, TorchFinetuner
from experiments.scan.nets.training import Settings, TorchTrainer
from experiments.scan.options import load_group
from experiments.scan.trainers import make_finetuner
from tests.experiments.scan.test_kernel import ITERATIONS, deviation, make_model, make_stream

OBJECTIVES: dict[str, dict[str, Any]] = {
    "equitune, reference": {},
    "apart, probabilities": {"space": "probabilities"},
    "apart, logits": {"space": "logits"},
    "joint, log-probabilities": {"coupling": "joint"},
    "equitune, paper": {"coupling": "joint", "space": "probabilities"},
    "lambda, reference": {"weights": True},
    "lambda, paper": {"coupling": "joint", "space": "probabilities", "weights": True},
    "lambda, joint, logits": {"coupling": "joint", "space": "logits", "weights": True},
    "equizero, reference": {"combine": "select", "score": "padded"},
    "equizero, emitted": {"combine": "select"},
    "equizero, paper": {"combine": "select", "space": "probabilities"},
    "equizero, logits": {"combine": "select", "space": "logits"},
}
SETTINGS = Settings(lr=1e-3, weight_decay=1e-4, dropout=0.1, seed=5, optimizer_steps=2)


def make_objective(group: str = "verb", **options: Any) -> Objective:
    """An objective on the words of SCAN; weights=True draws them for the 20 examples."""
    actions = word_actions(load_group(group))
    if options.get("weights"):
        random = torch.Generator().manual_seed(0)
        order = actions.commands.group.order
        options["weights"] = torch.rand(order, 20, generator=random) + 0.1
    return Objective(actions.commands, actions.words, **options)


def compare(cell: str, objective: Objective, iterations: int) -> tuple[float, float]:
    """Largest relative deviations of loss and state after some iterations in float64."""
    model, stream = make_model(cell, torch.float64), make_stream()
    spec = TorchFinetuner(model, SETTINGS, objective)
    fast = FinetuneTrainer(model, SETTINGS, objective)
    expected, found = spec.run(stream, 0, iterations), fast.run(stream, 0, iterations)
    states = spec.state_dict(), fast.state_dict()
    loss = float(np.max(np.abs(found - expected) / expected))
    return loss, max(deviation(states[1][name], states[0][name]) for name in states[0])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_agrees_with_specification(name: str) -> None:
    loss, state = compare("RNN", make_objective(**OBJECTIVES[name]), 20)
    assert loss < 1e-10
    assert state < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "group"), [("LSTM", "verb"), ("GRU", "verb_direction")])
@pytest.mark.parametrize(
    "name", ["equitune, reference", "equitune, paper", "equizero, reference", "lambda, paper"]
)
def test_agrees_with_specification_for_other_cells_and_a_larger_group(
    cell: str, group: str, name: str
) -> None:
    loss, state = compare(cell, make_objective(group, **OBJECTIVES[name]), 20)
    assert loss < 1e-9
    assert state < 1e-9


def losses_of(**options: Any) -> np.ndarray:
    """Losses of the specification on the test stream, without learning."""
    model = make_model("RNN", torch.float64)
    finetuner = TorchFinetuner(model, SETTINGS, make_objective(**options))
    with torch.no_grad():
        return np.array([finetuner.loss(make_stream(), i).item() for i in range(30)])


@pytest.mark.parametrize(
    "option",
    [{"space": "probabilities"}, {"space": "logits"}, {"coupling": "joint"}, {"weights": True}],
)
def test_every_option_of_the_average_matters(option: dict[str, Any]) -> None:
    assert np.abs(losses_of(**option) - losses_of()).max() > 1e-3


def test_the_score_decides_which_branch_is_selected() -> None:
    padded, emitted = (losses_of(combine="select", score=score) for score in ("padded", "emitted"))
    teacher = make_stream().teacher[:30]
    # Teacher forced branches are of equal length, for which both scores rank alike.
    np.testing.assert_array_equal(padded[teacher], emitted[teacher])
    assert (padded[~teacher] != emitted[~teacher]).any()


def test_the_trivial_group_is_pretraining() -> None:
    model, stream = make_model("GRU", torch.float64), make_stream()
    expected = TorchTrainer(model, SETTINGS)
    for combine in ("average", "select"):
        found = TorchFinetuner(model, SETTINGS, make_objective("trivial", combine=combine))
        for i in range(12):
            assert found.loss(stream, i).item() == pytest.approx(
                expected.loss(stream, i).item(), rel=1e-12
            )


def test_the_straight_through_gradient_of_equizero_is_that_of_equitune() -> None:
    """With log-probabilities the likelihood is linear in what is selected; only the stop differs.

    With a model that never says EOS both use all positions of the target.
    """
    model = make_model("RNN", torch.float64)
    with torch.no_grad():
        model.decoder.out.bias[Seq2Seq.EOS] -= 100
    gradients = []
    for combine in ("average", "select"):
        finetuner = TorchFinetuner(model, SETTINGS, make_objective(combine=combine))
        finetuner.loss(make_stream(), 1).backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in finetuner.model.parameters()])
    for average, select in zip(*gradients, strict=True):
        assert average is not None and select is not None
        torch.testing.assert_close(select, average, rtol=1e-10, atol=1e-12)


def test_two_steps_are_the_two_optimizers_of_the_authors_equizero() -> None:
    """One holds the encoder twice (PyTorch warns) and the decoder, the other the decoder again.

    Without weight decay, of which the second optimiser sees that of parameters moved by the first.
    """
    settings = dataclasses.replace(SETTINGS, weight_decay=0.0)
    model, stream = make_model("RNN", torch.float64), make_stream()
    objective = make_objective(combine="select", score="padded")
    finetuner = TorchFinetuner(model, settings, objective)
    twin = TorchFinetuner(model, settings, objective)
    encoder, decoder = (list(p.parameters()) for p in (twin.model.encoder, twin.model.decoder))
    with pytest.warns(UserWarning, match="duplicate"):
        optimizers = [
            torch.optim.Adam(listed, lr=1e-3, foreach=False)
            for listed in ([*encoder, *encoder, *decoder], decoder)
        ]
    for i in range(5):
        twin.model.zero_grad()
        twin.loss(stream, i).backward()  # type: ignore[no-untyped-call]
        for half in (encoder, decoder):
            torch.nn.utils.clip_grad_norm_(half, SETTINGS.clip)
        for optimizer in optimizers:
            optimizer.step()
    finetuner.run(stream, 0, 5)
    for found, expected in zip(finetuner.model.parameters(), twin.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_chunks_and_resume_do_not_change_a_bit() -> None:
    stream, model = make_stream(), make_model("RNN", torch.float32)
    objective = make_objective(combine="select", score="padded")
    whole = make_finetuner(model, SETTINGS, objective, "numba")
    expected = whole.run(stream, 0, ITERATIONS)
    first = make_finetuner(model, SETTINGS, objective, "numba")
    losses = first.run(stream, 0, 23)
    second = make_finetuner(Seq2Seq("RNN"), SETTINGS, objective, "numba")
    second.load_state_dict(load(save(first.state_dict())))
    losses = np.concatenate((losses, second.run(stream, 23, ITERATIONS)))
    np.testing.assert_array_equal(losses, expected)
    states = whole.state_dict(), second.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_back_ends_exchange_states() -> None:
    stream, model, objective = make_stream(), make_model("RNN", torch.float32), make_objective()
    first = make_finetuner(model, SETTINGS, objective, "torch")
    first.run(stream, 0, 3)
    second = make_finetuner(Seq2Seq("RNN"), SETTINGS, objective, "numba")
    second.load_state_dict(first.state_dict())
    np.testing.assert_allclose(second.run(stream, 3, 6), first.run(stream, 3, 6), rtol=1e-5)


@pytest.mark.parametrize("name", ["combine", "space", "coupling", "score"])
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='other' is unknown: choose from"):
        make_objective(**{name: "other"})


def test_a_selection_takes_no_weights() -> None:
    with pytest.raises(ValueError, match="takes no weights"):
        make_objective(combine="select", weights=True)
