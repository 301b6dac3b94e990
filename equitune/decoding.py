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
from equitune.averaging import average, select
from equitune.kinds import check_function, check_kind
from equitune.trees import map_tree

#: ``step(state, words[N, n]) -> scores[N, V], state``: reads words, scores the one after them.
Step = Callable[[Any, Tensor], tuple[Tensor, Any]]


class Block(NamedTuple):
    """The output of the branches since the last choice.

    Attributes:
        outputs: Scores (logits or log-probabilities) in each branch's own words, [G, B, n, V];
            zero in steps after a branch's end.
        undone: The scores after g^-1, g^-1 M(gx), [G, B, n, V].
        words: The words that each branch wrote, carried back, [G, B, n]; ``end`` after its end.
        emitted: True in the steps up to and including a branch's end, [G, B, n].
        rows: Which samples of the original batch these are, [B].
        context: The model's state at the start of the block, a tree of tensors with rows
            [G * B] in the order of the flattened orbit. It is a function of gx, so lambda(gx) may
            be computed from it.
    """

    outputs: Float[Tensor, "group batch steps words"]
    undone: Float[Tensor, "group batch steps words"]
    words: Int[Tensor, "group batch steps"]
    emitted: Bool[Tensor, "group batch steps"]
    rows: Int[Tensor, " batch"]
    context: Any


class Choice(NamedTuple):
    """The result of a rule for a block.

    Attributes:
        memory: Data that the rule gets again at the next block, or None.
        words: The chosen words, [B, n]; None leaves them to ``pick``, by ``scores``.
        scores: The combined scores, [B, n, V]; needed where words is None.
    """

    memory: Any
    words: Int[Tensor, "batch steps"] | None = None
    scores: Float[Tensor, "batch steps words"] | None = None


class Where(NamedTuple):
    """The position of a word, so that noise can depend on it and not on the row in a batch.

    Attributes:
        samples: The sample of every row, in the original batch, [N].
        elements: The group element of every row's branch, [N]; None for words of all branches.
        step: The position in the output, from 0.
    """

    samples: Int[Tensor, " rows"]
    elements: Int[Tensor, " rows"] | None
    step: int


#: ``pick(scores[N, V], where) -> words[N]``.
Pick = Callable[[Tensor, Where], Tensor]


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


def greedy(scores: Float[Tensor, "rows words"], where: Where) -> Int[Tensor, " rows"]:
    """Pick the word of the highest score, the first one among equals."""
    return scores.argmax(dim=-1)


def by_average(
    weights: Tensor | Callable[[Block], Tensor] | None = None, *, space: str = "logits"
) -> Rule:
    """Return the rule that averages the branches' scores; ``pick`` then takes a word.

    Args:
        weights: lambda(gx) of every branch, [G, B]; or a function that gives a block's weights,
            of a shape that :func:`average` takes. None (default) is uniform, equitune.
        space: ``logits`` (default) averages the scores as they are, log-probabilities included;
            ``probabilities`` averages their exponentials, so the scores must be log-probabilities;
            the combined scores are log-probabilities again. Steps after a branch's end have no
            vote in either.

    Raises:
        TypeError: If the weights are neither a tensor nor a function.
        ValueError: If the space is unknown.
    """
    if space not in ("logits", "probabilities"):
        raise ValueError(f"space={space!r} is unknown: choose 'logits' or 'probabilities'")

    if not (weights is None or isinstance(weights, Tensor)):
        check_function("weights, if no tensor,", weights, "lambda block: ...")

    def rule(block: Block, memory: Any) -> Choice:
        views = block.undone
        if space == "probabilities":
            views = views.exp() * block.emitted[..., None]
        own = weights(block) if callable(weights) else weights
        if isinstance(weights, Tensor):
            own = weights[:, block.rows]
        scores = average(views, own)
        return Choice(memory, scores=scores.log() if space == "probabilities" else scores)

    return rule


def by_selection(loss: Callable[[Block], Tensor], *, remember: bool = False) -> Rule:
    """Return the rule that takes the words of the branch of least proxy loss (Eq. 2, equizero).

    Args:
        loss: Maps a block to the proxy loss of each branch, [G, B].
        remember: Add up the losses of the blocks so far and select by the sum, so that the choice
            depends on the whole sequence written so far. Default False: by this block alone.

    Raises:
        TypeError: If the loss is no function.
    """
    check_function("loss", loss, "lambda block: ...")

    def rule(block: Block, memory: Tensor | None) -> Choice:
        losses = loss(block)
        if remember:
            if memory is not None:
                losses = losses + memory[:, block.rows]
                memory = memory.clone()
                memory[:, block.rows] = losses
            else:  # the first block has all samples
                memory = losses
        return Choice(memory, words=select(block.words, losses).value)

    return rule


@torch.no_grad()
def decode(
    step: Step,
    state: Any,
    start: Int[Tensor, " batch"],
    action_in: Action,
    action_out: Action,
    rule: Rule,
    *,
    max_steps: int,
    block: int | None = 1,
    end: int | None = None,
    pick: Pick = greedy,
) -> Decoded:
    """Decode a batch equivariantly, without gradients.

    A context that a group element does not change has equal scores for the words that the element
    exchanges. ``pick`` must break this tie, so the result is one of several equally good ones.

    Args:
        step: The model: ``step(state, words[N, n])`` reads n words per row and returns the scores
            of the word after them, [N, V], and the new state. Rows are the flattened orbit,
            N = G * B, group-major. The old state must stay valid (needed if ``block`` is above 1):
            the branches' own words are forgotten, and the chosen ones are read from there, all in
            one call.
        state: The model's state after reading the transformed contexts: a tensor, or a tuple, list,
            dict or named tuple of tensors, each [N, ...].
        start: The first word that is fed to every sample, in the words of the identity, [B].
        action_in: How the group acts on words (integers), for instance :class:`Relabel`.
        action_out: The same action on the last dim of scores, for instance :class:`PermuteAxis`.
        rule: Turns the branches' blocks into one: ``by_average()``, ``by_selection(loss)``.
        max_steps: Longest output, in words.
        block: Words per choice; None decodes whole sequences apart and chooses once.
        end: The word that ends a sequence; it must be fixed by the action. None: always max_steps.
        pick: ``pick(scores[N, V], where)`` picks words [N]: those of an average, and those that a
            branch writes for itself when ``block`` is above 1 or the rule selects. ``where`` says
            which sample, element and step each row is, so that samples can be drawn with noise that
            depends on nothing else. Default: the likeliest.

    Returns:
        The words and lengths. A branch's own words after its end are not looked at.

    Raises:
        TypeError: If an action or the rule is of another kind.
        ValueError: If max_steps or block is not positive, the actions are of different groups, the
            action moves ``end``, or a tensor of the state has not one row per branch.
    """
    for name, action in (("action_in", action_in), ("action_out", action_out)):
        check_kind(name, action, Action, "an Action, as Relabel(...) is")
    check_function("rule", rule, "by_average()")
    block = max_steps if block is None else block
    if max_steps < 1 or block < 1:
        raise ValueError(f"max_steps={max_steps} and block={block} must be positive")
    _check(state, start, action_in, action_out, end)
    writer = _Writer(step, action_in, action_out, end, pick)
    out = start.new_full((len(start), max_steps), 0 if end is None else end)
    rows = torch.arange(len(start), device=start.device)
    feed = action_in.orbit(start[:, None])
    memory: Any = None
    for first in range(0, max_steps, block):
        if len(rows) == 0:
            break
        size = min(block, max_steps - first)
        written = writer.write(state, feed, rows, first, size)
        choice = rule(written, memory)
        memory, chosen = choice.memory, writer.words_of(choice, rows, first)
        out[rows, first : first + size] = chosen
        if first + size < max_steps:
            state, feed, rows = writer.advance(written.context, rows, chosen)
    return _cut(out, end)


def _check(
    state: Any, start: Tensor, action_in: Action, action_out: Action, end: int | None
) -> None:
    if action_in.group != action_out.group:
        raise ValueError(
            f"both actions must be of one group, got {action_in.group!r} on words "
            f"and {action_out.group!r} on scores"
        )
    if end is not None and bool((action_in.orbit(start.new_full((1,), end)) != end).any()):
        raise ValueError(f"the action moves the end word {end}; it must be fixed")
    rows = action_in.group.order * len(start)

    def check_leaf(leaf: Tensor) -> Tensor:
        if leaf.ndim == 0 or leaf.shape[0] != rows:
            raise ValueError(
                f"the state has a tensor of shape {tuple(leaf.shape)}; its first dim must be the "
                f"{rows} rows of the flattened orbit"
            )
        return leaf

    map_tree(check_leaf, state)


class _Writer(NamedTuple):
    """The branches of a batch: they write blocks and read the chosen words."""

    step: Step
    action_in: Action
    action_out: Action
    end: int | None
    pick: Pick

    def write(self, state: Any, feed: Tensor, rows: Tensor, first: int, size: int) -> Block:
        """Let every branch read ``feed`` [G, B, n] and write ``size`` words from ``first`` on."""
        order = self.action_in.group.order
        elements = torch.arange(order, device=rows.device).repeat_interleave(len(rows))
        where = Where(rows.repeat(order), elements, first)
        outputs, words, emitted, context = self._roll_out(state, feed.flatten(0, 1), where, size)
        shape = (order, len(rows), size)
        outputs = outputs.reshape(*shape, -1)
        return Block(
            outputs,
            self.action_out.undo(outputs),
            self.action_in.undo(words.reshape(shape)),
            emitted.reshape(shape),
            rows,
            context,
        )

    def _roll_out(
        self, state: Any, feed: Tensor, where: Where, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Let every row write, feeding itself; rows that have ended are dropped on the way.

        Returns:
            The scores, words and marks of what was emitted, and the state of all rows after
            ``feed``, before any word of their own.
        """
        total, end = feed.shape[0], self.end
        scores, state = self.step(state, feed)
        context = state
        outputs = scores.new_zeros(total, size, scores.shape[-1])
        words = feed.new_full((total, size), 0 if end is None else end)
        emitted = torch.zeros(total, size, dtype=torch.bool, device=feed.device)
        rows = torch.arange(total, device=feed.device)
        assert where.elements is not None
        for position in range(size):
            at = Where(where.samples[rows], where.elements[rows], where.step + position)
            own = self.pick(scores, at)
            outputs[rows, position] = scores
            words[rows, position] = own
            emitted[rows, position] = True
            if position + 1 == size:
                break
            alive = own != end if end is not None else None
            if alive is not None and not bool(alive.all()):
                if not bool(alive.any()):
                    break
                state, own, rows = _take(state, alive), own[alive], rows[alive]
            scores, state = self.step(state, own[:, None])
        return outputs, words, emitted, context

    def words_of(self, choice: Choice, rows: Tensor, first: int) -> Tensor:
        """Return the words of a choice; if it has none, pick them by its scores."""
        if choice.words is not None:
            return choice.words
        if choice.scores is None:
            raise ValueError("a rule must return words or scores")
        steps = enumerate(choice.scores.unbind(dim=1), start=first)
        picked = [self.pick(scores, Where(rows, None, at)) for at, scores in steps]
        return torch.stack(picked, dim=1)

    def advance(self, context: Any, rows: Tensor, chosen: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Have every branch read its transform of the chosen words; drop samples that have ended.

        Returns:
            The state to go on from, the words to feed next [G, B, n] and the samples that are left.
        """
        feed = self.action_in.orbit(chosen)
        if self.end is None:
            return context, feed, rows
        alive = (chosen != self.end).all(dim=1)
        if bool(alive.all()):
            return context, feed, rows
        return _take(context, alive.repeat(len(feed))), feed[:, alive], rows[alive]


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
