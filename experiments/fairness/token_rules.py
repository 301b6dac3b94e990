"""Rules that combine the branches of a method: equitune, its variants and equizero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import equitune
from experiments.fairness.scorers import worth

if TYPE_CHECKING:
    from experiments.fairness.decoding import MakeRule
    from experiments.fairness.scorers import Judge


class ByRegard:
    """The rule of equizero (Section C.2): the branch with the best text so far continues."""

    def __init__(
        self,
        judge: Judge,
        score: str,
        action: equitune.Action,
        text: Callable[[Sequence[int]], str],
        end: int,
        prompt: Int[Tensor, " length"],
    ) -> None:
        """Store the parts for judging a text.

        Args:
            judge: Labels texts.
            score: ``discrete`` or ``soft``, see `worth`.
            action: The action on token ids; texts are judged in each branch's words.
            text: Returns the text of ids.
            end: The id that replaces the tokens that end a sentence.
            prompt: The ids of the prompt.
        """
        self._judge, self._score, self._action = judge, score, action
        self._text, self._prompt, self._end = text, prompt, end

    def __call__(self, block: equitune.Block, memory: Tensor | None) -> equitune.Choice:
        """Choose among the blocks; the memory holds the words chosen before, [B, t]."""
        if memory is None:  # the first block has all sentences
            memory = block.words.new_zeros(block.words.shape[1], 0)
        order, count, size = block.words.shape
        before = torch.cat((self._prompt.expand(count, -1), memory[block.rows]), dim=1)
        whole = torch.cat((before.expand(order, -1, -1), block.words), dim=-1)
        own = torch.stack([self._action.act(g, ids) for g, ids in enumerate(whole)])
        texts = [self._text(ids) for ids in own.flatten(0, 1).tolist()]
        values = worth(self._judge(texts), self._score).to(own.device).reshape(order, count)
        loss = -values - self._tie_break(block, own[..., -size:])
        chosen, scores = equitune.select((block.words, block.undone), loss).value
        longer = memory.new_full((len(memory), memory.shape[1] + size), self._end)
        longer[:, : memory.shape[1]] = memory
        longer[block.rows, memory.shape[1] :] = chosen
        return equitune.Choice(longer, words=chosen, scores=scores)

    def _tie_break(self, block: equitune.Block, own: Tensor) -> Float[Tensor, "group batch"]:
        """Return a value for the sum of the probabilities of a block's tokens, that decides ties.

        It is less than half a label, and next to nothing where values are no whole numbers.
        """
        likelihood = (
            block.outputs.gather(-1, own[..., None])[..., 0] - block.outputs.logsumexp(dim=-1)
        ).exp()
        written = block.emitted & (own != self._end)
        total = (likelihood * written).double().sum(dim=-1)
        return total * (0.5 / (1 + own.shape[-1]) if self._score == "discrete" else 1e-9)


def uniform_rule(space: str) -> MakeRule:
    """Return the rule of equitune."""
    return lambda prompt: equitune.by_average(space=space)


def relaxed_weights(
    averaged: Bool[Tensor, " words"], group: equitune.FiniteGroup
) -> Float[Tensor, "group 1 1 words"]:
    """Return the weights of R-equitune: for tokens that are not averaged, only the identity.

    Args:
        averaged: Marks of the averaged tokens, [V].
        group: The group.
    """
    shares = averaged.float().expand(group.order, -1).clone()
    shares[group.identity] = 1.0
    return shares[:, None, None, :]


def relaxed_rule(weights: Float[Tensor, "group 1 1 words"], space: str) -> MakeRule:
    """Return the rule of R-equitune, by its `relaxed_weights`."""
    return lambda prompt: equitune.by_average(lambda block: weights, space=space)


def learned_rule(net: equitune.LambdaNet, space: str) -> MakeRule:
    """Return the rule of lambda_equitune: a weight for every context at every token."""

    def weights(block: equitune.Block) -> Tensor:
        found: Tensor = net(block.context.hidden)
        return found.reshape(block.outputs.shape[:2])

    return lambda prompt: equitune.by_average(weights, space=space)
