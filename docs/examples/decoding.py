"""Decoding: whole sentences of a recurrent model, equivariant under a swap of words."""

import torch
from torch import Tensor

import equitune
from equitune import losses

torch.manual_seed(0)
END, WORDS = 0, 5
embed = torch.randn(WORDS, 8, dtype=torch.float64)
mix = torch.randn(8, 8, dtype=torch.float64)
out = torch.randn(8, WORDS, dtype=torch.float64)


def read(context: Tensor) -> Tensor:
    """Read contexts [N, T] and return the model's state, any tree of tensors [N, ...]."""
    return step(context.new_zeros(len(context), 8).double(), context)[1]


def step(state: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Read words [N, n] and return the scores of the word after them [N, V], and the state."""
    for word in words.unbind(dim=1):
        state = (state @ mix + embed[word]).tanh()
    return (state @ out).log_softmax(dim=-1), state


swap = equitune.cyclic(2)
table = equitune.cycle_permutations(WORDS, [[1, 2]])
words, scores = equitune.Relabel(swap, table), equitune.PermuteAxis(swap, table)


def surest(block: equitune.Block) -> Tensor:
    """Proxy loss of equizero: minus the mean largest probability of the words written."""
    return losses.max_probability(block.outputs, mask=block.emitted)


def decode(context: Tensor, rule: equitune.Rule, block: int | None) -> Tensor:
    """Decode contexts [B, T] to words [B, 12]."""
    state = read(words.orbit(context).flatten(0, 1))
    start = context.new_full((len(context),), END)
    return equitune.decode(
        step, state, start, words, scores, rule, max_steps=12, block=block, end=END
    ).words


contexts = torch.randint(1, WORDS, (20, 3))
contexts[:, 0] = 1  # so that the swap leaves no context as it is
swapped = words.act(1, contexts)
choices: list[tuple[equitune.Rule, int | None]] = [
    (equitune.by_average(), 1),  # one distribution per word, fed back to every branch
    (equitune.by_average(space="probabilities"), 1),
    (equitune.by_selection(surest), 4),  # the surest branch writes four words at a time
    (equitune.by_selection(surest), None),  # branches decode apart, one is chosen at the end
]
for rule, block in choices:
    assert torch.equal(decode(swapped, rule, block), words.act(1, decode(contexts, rule, block)))

bare = equitune.trivial()
plain = equitune.decode(
    step,
    read(contexts),
    contexts.new_full((20,), END),
    equitune.Invariant(bare),
    equitune.Invariant(bare),
    equitune.by_average(),
    max_steps=12,
    end=END,
).words
assert not torch.equal(plain, decode(contexts, *choices[0]))
