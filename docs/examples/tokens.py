"""Tokens: next-word scores of a language model under a swap of words."""

import torch
from torch import Tensor, nn

import equitune

torch.manual_seed(0)
vocabulary = ["the", "man", "woman", "he", "she", "works", "sleeps"]


class LanguageModel(nn.Module):
    """Scores the next word from the mean of the words before it."""

    def __init__(self) -> None:
        """Draw random weights."""
        super().__init__()
        self.embed = nn.Embedding(len(vocabulary), 16)
        self.out = nn.Linear(16, len(vocabulary))

    def forward(self, words: Tensor) -> Tensor:
        """Map words [N, T] to scores [N, V]."""
        scores: Tensor = self.out(self.embed(words).mean(dim=1).tanh())
        return scores


net = LanguageModel().eval()

pairs = [("man", "woman"), ("he", "she")]
index = {word: i for i, word in enumerate(vocabulary)}
table = equitune.cycle_permutations(len(vocabulary), [[index[a], index[b]] for a, b in pairs])
swap = equitune.cyclic(2)
words_in = equitune.Relabel(swap, table)  # on token ids, of any shape
scores_out = equitune.PermuteAxis(swap, table)  # on the last dim of the scores

model = equitune.Equivariant(net, words_in, scores_out)
context = torch.tensor([[index["the"], index["man"], index["works"]]])
swapped = torch.tensor([[index["the"], index["woman"], index["works"]]])

torch.testing.assert_close(model(context)[0, index["he"]], model(swapped)[0, index["she"]])
torch.testing.assert_close(model(context)[0, index["works"]], model(swapped)[0, index["works"]])

assert equitune.equivariance_error(model, context, words_in, scores_out) < 1e-5
assert equitune.equivariance_error(net, context, words_in, scores_out) > 1e-3
