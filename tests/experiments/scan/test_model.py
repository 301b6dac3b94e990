"""The plain PyTorch SCAN model: sizes, batching, masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.scan.nets.model import Seq2Seq
from experiments.scan.pretrain import _read_checkpoint


@pytest.fixture(params=["LSTM", "GRU", "RNN"])
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(request.param).double()


@pytest.mark.parametrize(("cell", "count"), [("LSTM", 234568), ("GRU", 184904), ("RNN", 85576)])
def test_trainable_parameter_counts(cell: str, count: int) -> None:
    model = Seq2Seq(cell)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


def test_every_parameter_receives_a_gradient(model: Seq2Seq) -> None:
    log_probs = model.forward_teacher(torch.arange(15)[None], torch.arange(8)[None])
    log_probs[..., 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_unknown_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lstm'.*RNN, GRU, LSTM"):
        Seq2Seq("lstm")


def test_batch_equals_single_examples(model: Seq2Seq) -> None:
    model.eval()
    commands = torch.tensor([[4, 9, 2, 1], [3, 3, 14, 1], [7, 2, 5, 1]])
    words = torch.tensor([[0, 0, 0], [5, 2, 7], [3, 3, 4]])
    batch = model.encode(commands)
    singles = [model.encode(command[None]) for command in commands]
    for step in words:
        log_probs, batch = model.step(batch, step)
        for row, state in enumerate(singles):
            single, singles[row] = model.step(state, step[row : row + 1])
            torch.testing.assert_close(log_probs[row], single[0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(batch.cell[row], singles[row].cell[0])


def test_rows_are_log_distributions_that_depend_on_the_command(model: Seq2Seq) -> None:
    targets = torch.tensor([[5, 2, 1], [5, 2, 1]])
    log_probs = model.eval().forward_teacher(torch.tensor([[4, 9, 1], [9, 4, 1]]), targets)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert (log_probs[0] - log_probs[1]).abs().min() > 0


def test_teacher_forcing_feeds_start_then_shifted_targets(model: Seq2Seq) -> None:
    model.eval()
    command, targets = torch.tensor([[4, 9, 1]]), torch.tensor([[5, 2, 1]])
    state = model.encode(command)
    rows = []
    for word in (model.SOS, 5, 2):
        log_probs, state = model.step(state, torch.tensor([word]))
        rows.append(log_probs)
    expected = torch.stack(rows, dim=1)
    torch.testing.assert_close(model.forward_teacher(command, targets), expected)


def test_step_leaves_the_old_state_valid(model: Seq2Seq) -> None:
    model.eval()
    state = model.encode(torch.tensor([[4, 9, 1]]))
    before = [part.clone() for part in state]
    first, _ = model.step(state, torch.tensor([5]))
    again, _ = model.step(state, torch.tensor([5]))
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip(before, state, strict=True))


def test_given_mask_replaces_random_dropout(model: Seq2Seq) -> None:
    model.train()
    state = model.encode(torch.tensor([[4, 9, 1]]))
    word = torch.tensor([5])
    ones = torch.ones(1, 128, dtype=torch.float64)
    masked = model.step(state, word, ones)[0]
    torch.testing.assert_close(masked, model.eval().step(state, word)[0])
    half = ones.clone()
    half[:, ::2] = 0
    assert not torch.allclose(masked, model.step(state, word, half)[0])


def test_encoder_state_joins_the_last_state_of_each_direction(model: Seq2Seq) -> None:
    state = model.encode(torch.tensor([[4, 9, 6, 1]]))
    torch.testing.assert_close(state.hidden[:, :64], state.outputs[:, -1, :64])
    torch.testing.assert_close(state.hidden[:, 64:], state.outputs[:, 0, 64:])


def test_weights_behind_a_prefix_beside_a_loss_s_are_the_model_s(tmp_path: Path) -> None:
    state = Seq2Seq("RNN", hidden=4).state_dict()
    given = {f"net.{name}": value for name, value in state.items()} | {"loss.a": torch.ones(1)}
    torch.save(given, tmp_path / "w.ckpt")
    found = _read_checkpoint(Seq2Seq("RNN", hidden=4), str(tmp_path / "w.ckpt"))
    assert all(torch.equal(found[name], value) for name, value in state.items())
