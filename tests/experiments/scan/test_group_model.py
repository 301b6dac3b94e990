"""The group-equivariant SCAN models in plain PyTorch: sizes, equivariance, definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equitune import Relabel, cycle_permutations, cyclic, product, symmetric, trivial
from experiments.scan.nets.group_layers import GroupConvolution
from experiments.scan.nets.group_model import GroupSeq2Seq, GroupState, reading_order

IN_WORDS, OUT_WORDS = 15, 8


def cyclic_actions(order: int) -> tuple[Relabel, Relabel]:
    """Command words 2, 3, ... and action words 2, 3, ... turned in a circle."""
    cycle = [list(range(2, 2 + order))]
    commands, words = (cycle_permutations(size, cycle) for size in (IN_WORDS, OUT_WORDS))
    return Relabel(cyclic(order), commands), Relabel(cyclic(order), words)


def product_actions() -> tuple[Relabel, Relabel]:
    """Two swaps: of words 2 and 3, and of command words 7 and 8, action words 5 and 6."""
    group = product(cyclic(2), cyclic(2))
    tables = []
    for size, second in ((IN_WORDS, [7, 8]), (OUT_WORDS, [5, 6])):
        first = cycle_permutations(size, [[2, 3]])
        other = cycle_permutations(size, [second])
        tables.append(torch.stack([a[b] for a in first for b in other]))
    return Relabel(group, tables[0]), Relabel(group, tables[1])


def symmetric_actions() -> tuple[Relabel, Relabel]:
    """All permutations of three verbs: command words 4, 5, 6 and action words 2, 3, 4."""
    group = symmetric(3)
    assert group.permutations is not None
    tables = []
    for size, start in ((IN_WORDS, 4), (OUT_WORDS, 2)):
        table = torch.arange(size).repeat(group.order, 1)
        table[:, start : start + 3] = start + group.permutations
        tables.append(table)
    return Relabel(group, tables[0]), Relabel(group, tables[1])


ACTIONS = {
    "cyclic(2)": cyclic_actions(2),
    "cyclic(4)": cyclic_actions(4),
    "product": product_actions(),
    "symmetric(3)": symmetric_actions(),
}


def make_model(cell: str, group: str, word_bias: str = "tied", hidden: int = 8) -> GroupSeq2Seq:
    torch.manual_seed(0)
    model = GroupSeq2Seq(cell, *ACTIONS[group], hidden=hidden, word_bias=word_bias).double()
    # Larger than drawn, so that words differ and attention is not flat.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.5
    return model


def examples() -> tuple[Tensor, Tensor]:
    """Five commands and targets of equal length in which every word may occur, EOS last."""
    generator = torch.Generator().manual_seed(1)
    commands = torch.randint(2, IN_WORDS, (5, 6), generator=generator)
    targets = torch.randint(2, OUT_WORDS, (5, 7), generator=generator)
    commands[:, -1] = targets[:, -1] = GroupSeq2Seq.EOS
    return commands, targets


def moved(model: GroupSeq2Seq, u: int, f: Tensor, dim: int) -> Tensor:
    """The function u f, (u f)(g) = f(u^-1 g), whose group dim is `dim`."""
    return f.index_select(dim, model.group.table[model.group.inverse(u)])


def optimise(model: GroupSeq2Seq, steps: int) -> None:
    """A few training steps on examples that are not closed under the group."""
    commands, targets = examples()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        log_probs = model.forward_teacher(commands, targets)
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(log_probs.flatten(0, 1), targets.flatten()).backward()
        optimizer.step()


def error(model: GroupSeq2Seq) -> float:
    """Largest deviation of log p(g y | g x) from log p(y | x), relabelled, over the group."""
    (commands, words), (x, y) = (model_actions(model), examples())
    plain = model.forward_teacher(x, y)
    worst = 0.0
    for g in model.group.elements:
        found = model.forward_teacher(commands.act(g, x), words.act(g, y))
        # The probability of the word g z must be the one z had.
        deviation = found[..., words.forward_table[g]] - plain
        worst = max(worst, deviation.abs().max().item())
    return worst


def model_actions(model: GroupSeq2Seq) -> tuple[Relabel, Relabel]:
    """The actions a model was built with."""
    return next(pair for pair in ACTIONS.values() if pair[0].group is model.group)


@pytest.mark.parametrize(
    ("cell", "order", "count"),
    [
        ("LSTM", 4, 791112),
        ("GRU", 4, 626888),
        ("RNN", 4, 298440),
        ("LSTM", 2, 397896),
        ("GRU", 2, 315592),
        ("RNN", 2, 150984),
    ],
)
def test_parameter_counts_are_those_of_the_reference(cell: str, order: int, count: int) -> None:
    model = GroupSeq2Seq(cell, *cyclic_actions(order))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("group", ACTIONS)
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_tied_models_are_equivariant_before_and_after_training(cell: str, group: str) -> None:
    model = make_model(cell, group)
    assert error(model) < 1e-10
    before = model.forward_teacher(*examples())
    optimise(model, 4)
    assert (model.forward_teacher(*examples()) - before).abs().max() > 1e-2
    assert error(model) < 1e-10


@pytest.mark.parametrize("group", ACTIONS)
def test_group_action_is_not_trivial(group: str) -> None:
    """Without this, an invariant model would pass for an equivariant one."""
    model = make_model("LSTM", group)
    commands, _ = model_actions(model)
    x, y = examples()
    plain = model.forward_teacher(x, y)
    others = set(model.group.elements) - {model.group.identity}
    assert all(
        (model.forward_teacher(commands.act(g, x), y) - plain).abs().max() > 1e-3 for g in others
    )


@pytest.mark.parametrize("group", ACTIONS)
def test_free_word_biases_break_equivariance(group: str) -> None:
    model = make_model("GRU", group, word_bias="free")
    assert error(model) > 1e-3
    with torch.no_grad():
        model.decoder.out.bias.zero_()
    assert error(model) < 1e-10


@pytest.mark.parametrize("group", ACTIONS)
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_states_are_permuted_and_attention_is_invariant(cell: str, group: str) -> None:
    model = make_model(cell, group)
    commands, words = model_actions(model)
    x, y = examples()
    state = model.encode(x)
    for u in model.group.elements:
        other = model.encode(commands.act(u, x))
        after, other_after = state, other
        for position in range(3):
            _, after = model.step(after, y[:, position])
            _, other_after = model.step(other_after, words.act(u, y[:, position]))
        for found, expected in ((other, state), (other_after, after)):
            torch.testing.assert_close(
                found.outputs, moved(model, u, expected.outputs, 2), rtol=0, atol=1e-10
            )
            for name in ("hidden", "cell"):
                expected_part = moved(model, u, getattr(expected, name), 1)
                torch.testing.assert_close(getattr(found, name), expected_part, rtol=0, atol=1e-10)
            torch.testing.assert_close(scores(found), scores(expected), rtol=0, atol=1e-10)


def scores(state: GroupState) -> Tensor:
    """Logits of the attention, `[B, L]`."""
    return (state.outputs * state.hidden[:, None]).sum((2, 3))


def test_convolution_is_its_definition_for_a_group_that_does_not_commute() -> None:
    group = symmetric(3)
    layer = GroupConvolution(group, 3, 5).double()
    f = torch.randn(2, group.order, 3, dtype=torch.float64)
    expected = torch.zeros(2, group.order, 5, dtype=torch.float64)
    for g in group.elements:
        for h in group.elements:
            filter_ = layer.weight[group.multiply(group.inverse(g), h)]
            expected[:, g] += f[:, h] @ filter_
    torch.testing.assert_close(layer(f), expected + layer.bias)


def test_initialisation_has_the_ranges_of_the_reference() -> None:
    torch.manual_seed(0)
    model = GroupSeq2Seq("LSTM", *cyclic_actions(4))
    decoder = model.decoder
    assert decoder.cell.input.weight.abs().max().item() == pytest.approx(128**-0.5, rel=1e-3)
    assert decoder.cell.input.bias.abs().max().item() == pytest.approx(1 / 128, rel=2e-2)
    assert decoder.combine.weight.abs().max().item() == pytest.approx(128**-0.5, rel=1e-3)
    assert decoder.out.weight.abs().max().item() == pytest.approx(128**-0.5, rel=1e-2)
    assert decoder.out.bias.abs().max().item() <= 128**-0.5
    assert model.encoder.embedding.weight.std().item() == pytest.approx(1, abs=0.1)


def test_backward_direction_reads_the_end_last_and_stays_at_its_words() -> None:
    assert reading_order(5).tolist() == [3, 2, 1, 0, 4]
    assert reading_order(1).tolist() == [0]
    model = make_model("GRU", "symmetric(3)")
    half = model.hidden
    state = model.encode(torch.tensor([[4, 9, 6, 1]]))
    mirrored = model.encode(torch.tensor([[6, 9, 4, 1]]))
    torch.testing.assert_close(
        state.outputs[:, [2, 1, 0, 3], :, half:], mirrored.outputs[..., :half]
    )
    torch.testing.assert_close(state.hidden, state.outputs[:, -1])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_batch_equals_single_examples(cell: str) -> None:
    model = make_model(cell, "symmetric(3)")
    x, y = examples()
    batch = model.encode(x)
    singles = [model.encode(command[None]) for command in x]
    for position in range(3):
        log_probs, batch = model.step(batch, y[:, position])
        for row, state in enumerate(singles):
            single, singles[row] = model.step(state, y[row : row + 1, position])
            torch.testing.assert_close(log_probs[row], single[0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(batch.cell[row], singles[row].cell[0])


def test_with_the_trivial_group_a_cell_is_the_one_of_pytorch() -> None:
    torch.manual_seed(0)
    group = trivial()
    still = [Relabel(group, torch.arange(size)[None]) for size in (IN_WORDS, OUT_WORDS)]
    for cell, plain in (
        ("LSTM", torch.nn.LSTMCell(6, 6)),
        ("GRU", torch.nn.GRUCell(6, 6)),
        ("RNN", torch.nn.RNNCell(6, 6)),
    ):
        layer = GroupSeq2Seq(cell, still[0], still[1], hidden=3).decoder.cell
        with torch.no_grad():
            plain.weight_ih.copy_(layer.input.weight[0].t())
            plain.weight_hh.copy_(layer.hidden.weight[0].t())
            plain.bias_ih.copy_(layer.input.bias)
            plain.bias_hh.copy_(layer.hidden.bias)
        x, hidden, memory = torch.randn(3, 2, 6)
        found = layer(layer.input(x[:, None]), hidden[:, None], memory[:, None])
        expected = plain(x, (hidden, memory)) if cell == "LSTM" else (plain(x, hidden), memory)
        torch.testing.assert_close(found[0][:, 0], expected[0])
        torch.testing.assert_close(found[1][:, 0], expected[1])


def test_teacher_forcing_feeds_start_then_shifted_targets_and_ignores_masks() -> None:
    model = make_model("LSTM", "cyclic(4)")
    command, targets = torch.tensor([[4, 9, 1]]), torch.tensor([[5, 2, 1]])
    state = model.encode(command)
    rows = []
    for word in (model.SOS, 5, 2):
        logits, _ = model.step(state, torch.tensor([word]), logits=True)
        log_probs, state = model.step(state, torch.tensor([word]), torch.zeros(1, 16))
        torch.testing.assert_close(logits.log_softmax(1), log_probs)
        rows.append(log_probs)
    masks = torch.zeros(1, 3, 16)
    found = model.forward_teacher(command, targets, masks)
    torch.testing.assert_close(found, torch.stack(rows, dim=1))


def test_every_parameter_receives_a_gradient() -> None:
    for cell in ("LSTM", "GRU", "RNN"):
        model = make_model(cell, "cyclic(4)")
        log_probs = model.forward_teacher(
            torch.arange(IN_WORDS)[None], torch.arange(OUT_WORDS)[None]
        )
        log_probs[..., 0].sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_impossible_models_are_refused() -> None:
    commands, words = cyclic_actions(2)
    with pytest.raises(ValueError, match=r"'lstm'.*RNN, GRU, LSTM"):
        GroupSeq2Seq("lstm", commands, words)
    with pytest.raises(ValueError, match="'none': choose tied or free"):
        GroupSeq2Seq("RNN", commands, words, word_bias="none")
    with pytest.raises(ValueError, match=r"order=2.*order=4"):
        GroupSeq2Seq("RNN", commands, cyclic_actions(4)[1])
    with pytest.raises(ValueError, match="permutes 15 command words, there are 16"):
        GroupSeq2Seq("RNN", commands, words, in_words=16)
    moves_end = Relabel(cyclic(2), cycle_permutations(OUT_WORDS, [[1, 2]]))
    with pytest.raises(ValueError, match="leave SOS and EOS alone, it moves action"):
        GroupSeq2Seq("RNN", commands, moves_end)
