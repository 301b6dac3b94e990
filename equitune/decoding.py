"""Equivariant autoregressive decoding: one loop for language and sequence-to-sequence models.

Every group element has a branch: the model run on its own transformed context. The branches write a
block of words each, a rule turns the blocks into one (an average or a selection, Eq. 4 on
distributions over words), and every branch is fed its own transform of the words that were chosen.

- ``block=1`` with an average is the sequential equitune of language models: at every step the
  distributions are carried back and averaged, so the result is an autoregressive distribution.
- ``block=m`` with a selection is EquizeroLM (Appendix C.2).
- ``block=None`` lets the branches decode whole sequences apart, each feeding itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equitune.actions import Action
from equitune.averaging import average, map_tree, select

#: ``step(state, words[N, n]) -> scores[N, n, V], state``: reads words, scores each next word.
Step = Callable[[Any, Tensor], tuple[Tensor, Any]]


class Block(NamedTuple):
    """What the branches wrote since the last choice.

    Attributes:
        outputs: Scores (logits or log-probabilities) in each branch's own words, [G, B, n, V];
            zero in steps after a branch's end.
        undone: The same carried back, g^-1 M(gx), [G, B, n, V].
        words: The words that each branch wrote, carried back, [G, B, n]; ``end`` after its end.
        emitted: True in the steps up to and including a branch's end, [G, B, n].
        rows: Which samples of the original batch these are, [B].
    """

    outputs: Float[Tensor, "group batch steps words"]
    undone: Float[Tensor, "group batch steps words"]
    words: Int[Tensor, "group batch steps"]
    emitted: Bool[Tensor, "group batch steps"]
    rows: Int[Tensor, " batch"]


class Choice(NamedTuple):
    """What a rule makes of a block.

    Attributes:
        words: The chosen words, [B, n].
        memory: What the rule wants to see again at the next block, or None.
    """

    words: Int[Tensor, "batch steps"]
    memory: Any


#: ``rule(block, memory) -> Choice``; the memory is None at the first block.
Rule = Callable[[Block, Any], Choice]


class Decoded(NamedTuple):
    """Decoded sequences.

    Attributes:
        words: [B, T], ``end`` after the end.
        lengths: Words up to and including ``end``; T where there is none, [B].
    """

    words: Int[Tensor, "batch steps"]
    lengths: Int[Tensor, " batch"]


def greedy(scores: Float[Tensor, "*batch words"]) -> Int[Tensor, "*batch"]:
    """Return the word of the highest score, the first one among equals."""
    return scores.argmax(dim=-1)


def by_average(
    weights: Float[Tensor, "group batch"] | None = None, *, space: str = "logits"
) -> Rule:
    """Return the rule that averages the branches' distributions and takes the likeliest word.

    Args:
        weights: lambda(gx) of every branch, [G, B]; None (default) is uniform, equitune.
        space: ``logits`` (default) averages the scores as they are, log-probabilities included;
            ``probabilities`` averages their exponentials, so the scores must be log-probabilities.
            Steps after a branch's end have no vote in either.

    Raises:
        ValueError: If the space is unknown.
    """
    if space not in ("logits", "probabilities"):
        raise ValueError(f"space={space!r} is unknown: choose 'logits' or 'probabilities'")

    def rule(block: Block, memory: Any) -> Choice:
        views = block.undone
        if space == "probabilities":
            views = views.exp() * block.emitted[..., None]
        own = None if weights is None else weights[:, block.rows]
        return Choice(greedy(average(views, own)), memory)

    return rule


def by_selection(loss: Callable[[Block], Tensor], *, remember: bool = False) -> Rule:
    """Return the rule that takes the words of the branch of least proxy loss (Eq. 2, equizero).

    Args:
        loss: Maps a block to the proxy loss of each branch, [G, B].
        remember: Add up the losses of the blocks so far and select by the sum, so that the choice
            depends on the whole sequence written so far. Default False: by this block alone.
    """

    def rule(block: Block, memory: Tensor | None) -> Choice:
        losses = loss(block)
        if remember:
            if memory is not None:
                losses = losses + memory[:, block.rows]
            size = int(block.rows.max()) + 1 if memory is None else memory.shape[1]
            memory = losses.new_zeros(losses.shape[0], size) if memory is None else memory.clone()
            memory[:, block.rows] = losses
        return Choice(select(block.words, losses).value, memory)

    return rule


def decode(
    step: Step,
    state: Any,
    start: Int[Tensor, " batch"],
    action: Action,
    action_out: Action,
    rule: Rule,
    *,
    max_steps: int,
    block: int | None = 1,
    end: int | None = None,
    pick: Callable[[Tensor], Tensor] = greedy,
) -> Decoded:
    """Decode a batch equivariantly.

    A context that a group element leaves as it is has equal scores for the words that the element
    exchanges: a tie that ``pick`` must break one way, so for such contexts the result is only one
    of several equally good ones.

    Args:
        step: The model: ``step(state, words[N, n])`` reads n words per row and returns the scores
            of the word after each, [N, n, V], and the new state. Rows are the flattened orbit,
            N = G * B, group-major. The old state must stay valid (needed if ``block`` is above 1).
        state: The model's state after reading the transformed contexts: a tensor, or a tuple, list,
            dict or named tuple of tensors, each [N, ...].
        start: The first word that is fed to every sample, in the words of the identity, [B].
        action: How the group acts on words (integers), for instance :class:`Relabel`.
        action_out: The same action on the last dim of scores, for instance :class:`PermuteAxis`.
        rule: Turns the branches' blocks into one: ``by_average()``, ``by_selection(loss)``.
        max_steps: Longest output, in words.
        block: Words per choice; None decodes whole sequences apart and chooses once.
        end: The word that ends a sequence; it must be fixed by the action. None: always max_steps.
        pick: How a branch picks its own next word from scores [..., V]. Default: the likeliest.

    Returns:
        The words and lengths. A branch's own words after its end are not looked at.

    Raises:
        ValueError: If max_steps or block is not positive, or the action moves ``end``.
    """
    block = max_steps if block is None else block
    if max_steps < 1 or block < 1:
        raise ValueError(f"max_steps={max_steps} and block={block} must be positive")
    order, batch = action.group.order, start.shape[0]
    if end is not None and bool((action.orbit(start.new_full((1,), end)) != end).any()):
        raise ValueError(f"the action moves the end word {end}; it must be fixed")
    out = start.new_full((batch, max_steps), 0 if end is None else end)
    rows = torch.arange(batch, device=start.device)
    feed = action.orbit(start[:, None])
    memory: Any = None
    for first in range(0, max_steps, block):
        size = min(block, max_steps - first)
        outputs, words, emitted, after = _roll_out(step, state, feed.flatten(0, 1), size, end, pick)
        shape = (order, len(rows), size)
        outputs = outputs.reshape(*shape, -1)
        chosen, memory = rule(
            Block(
                outputs,
                action_out.undo(outputs),
                action.undo(words.reshape(shape)),
                emitted.reshape(shape),
                rows,
            ),
            memory,
        )
        out[rows, first : first + size] = chosen
        if first + size >= max_steps:
            break
        branch_words = action.orbit(chosen)
        if size > 1:
            known = torch.cat((feed, branch_words[..., :-1]), dim=-1)
            after = step(state, known.flatten(0, 1))[1]
        state, feed = after, branch_words[..., -1:]
        if end is not None:
            alive = (chosen != end).all(dim=1)
            if not bool(alive.any()):
                break
            if not bool(alive.all()):
                keep = alive.repeat(order)
                state = _take(state, keep)
                feed, rows = feed[:, alive], rows[alive]
    return _cut(out, end)


def _roll_out(
    step: Step,
    state: Any,
    feed: Tensor,
    size: int,
    end: int | None,
    pick: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Let every row write ``size`` words, feeding itself; rows that have ended are dropped."""
    total = feed.shape[0]
    words = feed.new_full((total, size), 0 if end is None else end)
    emitted = torch.zeros(total, size, dtype=torch.bool, device=feed.device)
    outputs: Tensor | None = None
    rows = torch.arange(total, device=feed.device)
    for position in range(size):
        scores, state = step(state, feed)
        scores = scores[:, -1]
        if outputs is None:
            outputs = scores.new_zeros(total, size, scores.shape[-1])
        own = pick(scores)
        outputs[rows, position] = scores
        words[rows, position] = own
        emitted[rows, position] = True
        feed = own[:, None]
        if end is None or position + 1 == size:
            continue
        alive = own != end
        if not bool(alive.any()):
            break
        if not bool(alive.all()):
            state, feed, rows = _take(state, alive), feed[alive], rows[alive]
    assert outputs is not None
    return outputs, words, emitted, state


def _take(tree: Any, keep: Tensor) -> Any:
    """Keep the marked rows of every tensor in a tree."""
    return map_tree(lambda leaf: leaf[keep], tree)


def _cut(words: Tensor, end: int | None) -> Decoded:
    """Fill with ``end`` after the first one and count the words up to it."""
    steps = words.shape[1]
    if end is None:
        return Decoded(words, words.new_full((words.shape[0],), steps))
    is_end = words == end
    ended_before = is_end.cumsum(dim=1) - is_end.to(torch.int64) > 0
    lengths = torch.where(is_end.any(dim=1), is_end.to(torch.uint8).argmax(dim=1) + 1, steps)
    return Decoded(words.masked_fill(ended_before, end), lengths)
