"""Equivariant decoding: joint, in blocks and apart, on a model whose answer can be written down."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import equitune
from equitune import losses

END, WORDS, STEPS = 0, 7, 9
TABLES = equitune.cycle_permutations(WORDS, [[1, 2, 3], [4, 5, 6]])
GROUP = equitune.cyclic(3)
WORD_ACTION = equitune.Relabel(GROUP, TABLES)
AXIS_ACTION = equitune.PermuteAxis(GROUP, TABLES)


class State(NamedTuple):
    context: Tensor
    hidden: Tensor


class Recurrent:
    """A small recurrent model with random weights: context [N, 3] of words, hidden state [N, 8]."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.embed, self.mix, self.out = draw(WORDS, 8), draw(8, 8), 2 * draw(8, WORDS)
        self.bias = torch.tensor([2.0] + [0.0] * (WORDS - 1), dtype=torch.float64)  # ends happen

    def read(self, context: Tensor) -> State:
        return State(context, self.embed[context].sum(dim=-2).tanh())

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        hidden = state.hidden
        for column in words.unbind(dim=1):
            hidden = (hidden @ self.mix + self.embed[column]).tanh()
            scores = (hidden @ self.out + self.bias).log_softmax(dim=-1)
        return scores, State(state.context, hidden)

    def greedy(self, context: Tensor) -> list[int]:
        """Decode one context alone."""
        state, word, found = self.read(context[None]), torch.zeros(1, 1, dtype=torch.int64), []
        for _ in range(STEPS):
            scores, state = self.step(state, word)
            word = scores.argmax(dim=-1, keepdim=True)
            found.append(int(word))
            if found[-1] == END:
                break
        return found


def run(
    model: Recurrent,
    contexts: Tensor,
    rule: equitune.Rule,
    block: int | None,
    end: int | None = END,
    pick: equitune.Pick = equitune.greedy,
) -> equitune.Decoded:
    state = model.read(WORD_ACTION.orbit(contexts).flatten(0, 1))
    return equitune.decode(
        model.step,
        state,
        contexts.new_zeros(len(contexts)),
        WORD_ACTION,
        AXIS_ACTION,
        rule,
        max_steps=STEPS,
        block=block,
        end=end,
        pick=pick,
    )


def confident(block: equitune.Block) -> Tensor:
    return losses.max_probability(block.outputs, mask=block.emitted)


def weights(contexts: Tensor) -> Tensor:
    """A positive function lambda(gx) of the transformed context."""
    views = WORD_ACTION.orbit(contexts).double()
    return 0.1 + (views @ torch.tensor([0.3, 1.7, 2.9], dtype=torch.float64)).sin().abs()


RULES = {
    "average": lambda x: equitune.by_average(),
    "probabilities": lambda x: equitune.by_average(space="probabilities"),
    "weighted": lambda x: equitune.by_average(weights(x)),
    "select": lambda x: equitune.by_selection(confident),
    "remember": lambda x: equitune.by_selection(confident, remember=True),
}


@pytest.fixture
def contexts() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(1, WORDS, (12, 3), generator=generator)


@pytest.mark.parametrize("block", [1, 2, 4, None])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_decoding_is_equivariant(contexts: Tensor, rule: str, block: int | None, seed: int) -> None:
    model = Recurrent(seed)
    plain = run(model, contexts, RULES[rule](contexts), block).words
    moved = 0
    for g, turned in enumerate(WORD_ACTION.orbit(contexts)):
        words = run(model, turned, RULES[rule](turned), block).words
        assert torch.equal(words, WORD_ACTION.orbit(plain)[g])
        moved += int((words != plain).any(dim=1).sum())
    assert moved > 0  # the action does move these sequences


def test_the_model_itself_is_not_equivariant(contexts: Tensor) -> None:
    model = Recurrent(0)
    turned = WORD_ACTION.orbit(contexts)[1]
    same = [
        model.greedy(t) == WORD_ACTION.orbit(torch.tensor([model.greedy(x)]))[1][0].tolist()
        for x, t in zip(contexts, turned, strict=True)
    ]
    assert not all(same)


def test_apart_selection_is_one_branch_s_own_greedy_sequence(contexts: Tensor) -> None:
    model = Recurrent(0)
    decoded = run(model, contexts, equitune.by_selection(confident), None)
    lengths = set()
    for row, context in enumerate(contexts):
        branches = []
        for g, turned in enumerate(WORD_ACTION.orbit(context[None])):
            inverse = GROUP.inverse(g)
            own = torch.tensor([model.greedy(turned[0])])
            branches.append(WORD_ACTION.orbit(own)[inverse][0].tolist())
        words = decoded.words[row, : decoded.lengths[row]].tolist()
        assert words in branches
        lengths.add(len(words))
    assert len(lengths) > 1  # sequences end at different steps


@pytest.mark.parametrize("block", [1, 3, None])
def test_with_the_trivial_group_every_block_size_is_plain_greedy_decoding(
    contexts: Tensor, block: int | None
) -> None:
    model = Recurrent(2)
    one = equitune.trivial()
    same = torch.arange(WORDS)[None]
    for rule in (equitune.by_average(), equitune.by_selection(confident)):
        decoded = equitune.decode(
            model.step,
            model.read(contexts),
            contexts.new_zeros(len(contexts)),
            equitune.Relabel(one, same),
            equitune.PermuteAxis(one, same),
            rule,
            max_steps=STEPS,
            block=block,
            end=END,
        )
        for row, context in enumerate(contexts):
            words = decoded.words[row, : decoded.lengths[row]].tolist()
            assert words == model.greedy(context)
            assert set(decoded.words[row, decoded.lengths[row] :].tolist()) <= {END}


def test_joint_averaging_is_the_product_of_averaged_distributions(contexts: Tensor) -> None:
    """A joint decoding is autoregressive: feeding the chosen words again gives the same words."""
    model = Recurrent(3)
    words = run(model, contexts, equitune.by_average(space="probabilities"), 1, end=None).words
    fed = torch.cat((torch.zeros_like(words[:, :1]), words[:, :-1]), dim=1)
    state = model.read(WORD_ACTION.orbit(contexts).flatten(0, 1))
    columns = []
    for column in WORD_ACTION.orbit(fed).flatten(0, 1).unbind(dim=1):
        found, state = model.step(state, column[:, None])
        columns.append(found)
    scores = torch.stack(columns, dim=1)
    views = AXIS_ACTION.undo(scores.reshape(3, len(contexts), STEPS, WORDS)).exp()
    mean = equitune.average(views)
    assert torch.allclose(mean.sum(dim=-1), torch.ones(len(contexts), STEPS, dtype=mean.dtype))
    assert torch.equal(mean.argmax(dim=-1), words)


def test_remembering_selects_by_the_sum_of_all_losses(contexts: Tensor) -> None:
    model = Recurrent(5)
    forgetful = run(model, contexts, equitune.by_selection(confident), 1).words
    mindful = run(model, contexts, equitune.by_selection(confident, remember=True), 1).words
    assert not torch.equal(forgetful, mindful)
    assert torch.equal(forgetful[:, 0], mindful[:, 0])


def test_without_an_end_all_steps_are_written(contexts: Tensor) -> None:
    decoded = run(Recurrent(0), contexts, equitune.by_average(), 2, end=None)
    assert decoded.lengths.tolist() == [STEPS] * len(contexts)


NOISE = torch.rand(12, STEPS, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def sample(scores: Tensor, where: equitune.Where) -> Tensor:
    """Draw by rank with noise that belongs to the sample and the step, whatever its row is."""
    ordered = scores.softmax(dim=-1).sort(dim=-1, descending=True)
    ranks = (ordered.values.cumsum(dim=-1) < NOISE[where.samples, where.step, None]).sum(dim=-1)
    ranks = ranks.clamp(max=WORDS - 1)
    return ordered.indices.gather(-1, ranks[:, None])[:, 0]


@pytest.mark.parametrize(
    ("rule", "block"),
    [("probabilities", 1), ("weighted", 1), ("select", 1), ("select", 3), ("select", None)],
)
def test_sampling_with_noise_tied_to_the_sentence_is_equivariant(
    contexts: Tensor, rule: str, block: int | None
) -> None:
    model = Recurrent(0)
    drawn = run(model, contexts, RULES[rule](contexts), block, pick=sample).words
    assert not torch.equal(drawn, run(model, contexts, RULES[rule](contexts), block).words)
    for g, turned in enumerate(WORD_ACTION.orbit(contexts)):
        words = run(model, turned, RULES[rule](turned), block, pick=sample).words
        assert torch.equal(words, WORD_ACTION.orbit(drawn)[g])


def test_a_sample_is_drawn_alike_alone_and_in_a_batch(contexts: Tensor) -> None:
    """Rows are dropped when they end; `where` still names the right sample."""
    model = Recurrent(0)
    together = run(model, contexts, equitune.by_average(), 1, pick=sample).words
    for row in range(len(contexts)):

        def alone(scores: Tensor, where: equitune.Where, row: int = row) -> Tensor:
            return sample(scores, where._replace(samples=torch.full_like(where.samples, row)))

        one = run(model, contexts[row : row + 1], equitune.by_average(), 1, pick=alone)
        assert torch.equal(one.words[0], together[row])


def test_where_names_sample_element_and_step(contexts: Tensor) -> None:
    seen = []

    def pick(scores: Tensor, where: equitune.Where) -> Tensor:
        if where.elements is not None:
            seen.extend(
                (int(s), int(g), where.step)
                for s, g in zip(where.samples, where.elements, strict=True)
            )
        return scores.argmax(dim=-1)

    run(Recurrent(0), contexts[:2], equitune.by_selection(confident), 2, end=None, pick=pick)
    assert sorted(seen) == sorted(
        (s, g, t) for s in range(2) for g in range(3) for t in range(STEPS)
    )


def test_weights_may_depend_on_the_block(contexts: Tensor) -> None:
    model = Recurrent(0)

    def surest(block: equitune.Block) -> Tensor:
        return (-confident(block)) ** 8

    plain = run(model, contexts, equitune.by_average(surest), 1).words
    assert not torch.equal(plain, run(model, contexts, equitune.by_average(), 1).words)
    for g, turned in enumerate(WORD_ACTION.orbit(contexts)):
        words = run(model, turned, equitune.by_average(surest), 1).words
        assert torch.equal(words, WORD_ACTION.orbit(plain)[g])


def test_an_empty_batch_is_decoded_to_nothing(contexts: Tensor) -> None:
    decoded = run(Recurrent(0), contexts[:0], equitune.by_average(), 1)
    assert decoded.words.shape == (0, STEPS) and decoded.lengths.shape == (0,)


def test_bad_arguments_are_refused(contexts: Tensor, unchecked: None) -> None:
    model = Recurrent(0)
    state = model.read(WORD_ACTION.orbit(contexts).flatten(0, 1))
    start = contexts.new_zeros(len(contexts))
    other = equitune.PermuteAxis(equitune.trivial(), torch.arange(WORDS)[None])
    with pytest.raises(ValueError, match="both actions must be of one group"):
        equitune.decode(
            model.step, state, start, WORD_ACTION, other, equitune.by_average(), max_steps=3
        )
    layers_first = State(state.context, state.hidden[None])
    with pytest.raises(ValueError, match="first dim must be the 36 rows"):
        equitune.decode(
            model.step,
            layers_first,
            start,
            WORD_ACTION,
            AXIS_ACTION,
            equitune.by_average(),
            max_steps=3,
        )
    with pytest.raises(ValueError, match="must return words or scores"):
        run(model, contexts, lambda block, memory: equitune.Choice(memory), 1)
    with pytest.raises(ValueError, match="moves the end word 1"):
        run(model, contexts, equitune.by_average(), 1, end=1)
    with pytest.raises(ValueError, match="block=0"):
        run(model, contexts, equitune.by_average(), 0)
    with pytest.raises(ValueError, match="choose 'logits' or 'probabilities'"):
        equitune.by_average(space="words")


@pytest.mark.parametrize("block", [1, 2, None])
def test_a_block_knows_the_state_of_its_context(contexts: Tensor, block: int | None) -> None:
    model, seen = Recurrent(0), []

    def rule(written: equitune.Block, memory: Tensor | None) -> equitune.Choice:
        hidden = written.context.hidden.reshape(*written.outputs.shape[:2], -1)
        again = (hidden @ model.out + model.bias).log_softmax(dim=-1)
        seen.append(torch.equal(again, written.outputs[:, :, 0]))
        return equitune.by_selection(confident)(written, memory)

    run(model, contexts, rule, block)
    assert seen
    assert all(seen)


def test_chosen_words_are_read_in_one_call(contexts: Tensor) -> None:
    model, read = Recurrent(0), []

    def step(state: State, words: Tensor) -> tuple[Tensor, State]:
        read.append(words.shape[1])
        return model.step(state, words)

    state = model.read(WORD_ACTION.orbit(contexts).flatten(0, 1))
    equitune.decode(
        step,
        state,
        contexts.new_zeros(len(contexts)),
        WORD_ACTION,
        AXIS_ACTION,
        equitune.by_selection(confident),
        max_steps=6,
        block=3,
    )
    assert read == [1, 1, 1, 3, 1, 1]
