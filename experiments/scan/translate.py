"""Translation of commands to actions by the library's equivariant decoding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import equitune
from experiments.costs import rows_read
from experiments.frame.errors import UserError
from experiments.frame.methods import Kind, find_method
from experiments.scan.data import EOS, SOS, Corpus, WordActions, word_actions
from experiments.scan.nets.model import EncoderDecoder
from experiments.scan.options import ScanGroup

if TYPE_CHECKING:
    from experiments.scan.options import ScanTask


@dataclass(frozen=True)
class CommandWeights:
    """lambda(gx) of transformed commands.

    Attributes:
        model: The pretrained model, frozen, whose encoder gives the features.
        net: The network.
    """

    model: EncoderDecoder
    net: equitune.LambdaNet

    @torch.no_grad()
    def __call__(
        self,
        commands: Int[Tensor, "rows length"],
        hidden: Float[Tensor, "rows width"] | None = None,
    ) -> Float[Tensor, " rows"]:
        """Return the weights of commands of equal length.

        Args:
            commands: Word indices with EOS.
            hidden: The last state of this model's encoder for them; None: they are encoded.
        """
        weights: Tensor = self.net(self.model.encode(commands).hidden if hidden is None else hidden)
        return weights

    def to(self, device: torch.device) -> CommandWeights:
        """Move both networks to a device."""
        return CommandWeights(self.model.to(device), self.net.to(device))

    def of_corpus(self, corpus: Corpus, actions: WordActions) -> Float[Tensor, "group commands"]:
        """Return the weights for the orbits of a corpus, in its order."""
        order = actions.commands.group.order
        weights = torch.zeros(order, len(corpus))
        for batch in corpus.batches():
            orbit = actions.commands.orbit(batch.commands)
            weights[:, batch.rows] = self(orbit.flatten(0, 1)).reshape(order, -1)
        return weights


@dataclass(frozen=True)
class Translator:
    """A model made equivariant: maps commands to actions.

    Attributes:
        model: The pretrained model.
        actions: The group's action on words.
        rule: Builds the rule of one batch from its weights lambda(gx), [G, B] or None.
        block: Words per choice of the rule; None: branches decode separately.
        weigh: lambda(gx) of a network, or None.
        logits: Whether the rule sees logits instead of log-probabilities.
    """

    model: EncoderDecoder
    actions: WordActions
    rule: Callable[[Tensor | None], equitune.Rule]
    block: int | None
    weigh: CommandWeights | None = None
    logits: bool = False

    @torch.no_grad()
    def __call__(self, commands: Int[Tensor, "batch length"]) -> Int[Tensor, "batch steps"]:
        """Translate commands of equal length.

        Args:
            commands: Word indices with EOS, [B, L].

        Returns:
            Action indices, EOS from the end on, [B, max_steps].
        """
        orbit = self.actions.commands.orbit(commands)
        state = self.model.encode(orbit.flatten(0, 1))
        weights = None
        if self.weigh is not None:
            read = state.hidden if self.weigh.model is self.model else None
            weights = self.weigh(orbit.flatten(0, 1), read).reshape(orbit.shape[:2])
        return equitune.decode(
            _step_of(self.model, self.logits),
            state,
            commands.new_full((len(commands),), SOS),
            self.actions.words,
            self.actions.distributions,
            self.rule(weights),
            max_steps=self.model.max_steps,
            block=self.block,
            end=EOS,
        ).words


def _step_of(model: EncoderDecoder, logits: bool) -> equitune.Step:
    """Return the model's step function for the library's decoding.

    It raises a UserError if the likeliest word's score is not finite; other words may have minus
    infinity.
    """

    def step(state: Any, words: Tensor) -> tuple[Tensor, Any]:
        for column in words.unbind(dim=1):
            scores, state = model.step(state, column, logits=logits)
        if not math.isfinite(scores.amax()):  # max returns NaN if there is one
            raise UserError(
                "the model gives scores that are no finite numbers: its weights are too large, or "
                "training has diverged"
            )
        return scores, state

    return step


def translator(
    model: EncoderDecoder,
    group: ScanGroup,
    method: str,
    options: ScanTask,
    weigh: CommandWeights | None = None,
    temperature: float | None = None,
) -> Translator:
    """Build the translator of a method.

    Args:
        model: The pretrained model.
        group: The group and its action on words.
        method: Name of the method; decoding serves all kinds but `Kind.OTHER`.
        options: Coupling, selection, score and space.
        weigh: lambda(gx), for methods that have it.
        temperature: Of a soft choice.

    Raises:
        UserError: If there is no such method.
        ValueError: If the method is of another kind, lacks its lambda or temperature, or has one
            view but is given a group.
    """
    entry = find_method(method)
    if entry.kind is Kind.OTHER:
        raise ValueError(f"method={method} needs all views at once, and decoding has one word")
    if not entry.uses_group and group.name != "trivial":
        raise ValueError(f"method={method} has one view: give it group trivial, not {group.name}")
    if entry.needs_net and weigh is None:
        raise ValueError(f"method={method} needs lambda, weigh=")
    actions = word_actions(group).to(model.device)
    if entry.kind is Kind.CHOICE:
        return Translator(model, actions, _selection(options), _selection_block(options))
    space = "probabilities" if options.space == "probabilities" else "logits"
    if entry.kind is Kind.SOFT_CHOICE:
        if temperature is None:
            raise ValueError(f"method={method} needs temperature=")
        soft = equitune.by_average(_soft_weights(options, temperature), space=space)
        return Translator(model, actions, lambda _: soft, None, logits=options.space == "logits")
    whole = options.coupling == "apart" and entry.uses_group
    return Translator(
        model,
        actions,
        lambda weights: equitune.by_average(weights, space=space),
        None if whole else 1,
        weigh,
        logits=options.space == "logits",
    )


def _selection_block(options: ScanTask) -> int | None:
    return None if options.selection == "sequence" else 1


def _selection(options: ScanTask) -> Callable[[Tensor | None], equitune.Rule]:
    """Return the factory of equizero's rule: select by the mean of -max probability.

    At a single step both branches often have probability 1 up to rounding, and -max probability
    ties at -1. There, 1 - max probability is used: it has the same order and is exact near zero.
    """
    if options.selection == "sequence":
        return lambda weights: equitune.by_selection(_sequence_loss(options))

    def loss(block: equitune.Block) -> Tensor:
        losses = equitune.losses.max_probability(block.outputs, log_odds=True, mask=block.emitted)
        return losses.sigmoid()

    return lambda weights: equitune.by_selection(loss, remember=options.selection == "prefix")


def _sequence_loss(options: ScanTask) -> Callable[[equitune.Block], Tensor]:
    """Return the proxy loss of finished sequences: the mean of -max probability, [G, B]."""

    def loss(block: equitune.Block) -> Tensor:
        # Rows after a branch's end hold zeros: a uniform distribution, max probability 1/8.
        mask = None if options.score == "padded" else block.emitted
        return equitune.losses.max_probability(block.outputs, mask=mask)

    return loss


def _soft_weights(options: ScanTask, temperature: float) -> Callable[[equitune.Block], Tensor]:
    """Return lambda(gx) = exp(-loss / temperature) of the sequence that the branch of gx wrote."""
    loss = _sequence_loss(options)
    return lambda block: equitune.soft_select_weights(loss(block), temperature)


def branch_losses(
    model: EncoderDecoder, group: ScanGroup, options: ScanTask, corpus: Corpus
) -> Float[Tensor, "group commands"]:
    """Return the proxy losses by which `Kind.SOFT_CHOICE` weighs the views of commands.

    Args:
        model: The pretrained model.
        group: The group and its action on words.
        options: The score.
        corpus: The commands; their targets are not read.
    """
    actions, found = word_actions(group).to(model.device), []

    def note(block: equitune.Block, memory: Any) -> equitune.Choice:
        found.append(_sequence_loss(options)(block).cpu())
        return equitune.by_average()(block, memory)

    branches = Translator(model, actions, lambda weights: note, None)
    losses = torch.zeros(actions.commands.group.order, len(corpus))
    for batch in corpus.batches():
        branches(batch.commands.to(model.device))
        losses[:, batch.rows] = found[-1]
    return losses


def passes(translator: Translator, command: Int[Tensor, "1 length"]) -> int:
    """Return how many commands encoders read to translate one, by counting.

    Args:
        translator: The translator; a lambda of its own model reads nothing again.
        command: Word indices with EOS, [1, L].
    """
    models = [translator.model, *([translator.weigh.model] if translator.weigh else [])]
    encoders = [model.encoder for model in models]
    return rows_read(encoders, lambda: translator(command.to(translator.model.device)))


def translate(translator: Translator, corpus: Corpus) -> Int[Tensor, "commands steps"]:
    """Translate a whole corpus.

    Returns:
        Action indices in the corpus's order, EOS from the end on, [n, max_steps].
    """
    words = torch.full((len(corpus), translator.model.max_steps), EOS)
    for batch in corpus.batches():
        words[batch.rows] = translator(batch.commands.to(translator.model.device)).cpu()
    return words


def translate_plain(model: EncoderDecoder, corpus: Corpus) -> Int[Tensor, "commands steps"]:
    """Translate a corpus greedily with the plain model."""
    actions = word_actions(ScanGroup("trivial")).to(model.device)
    plain = Translator(model, actions, lambda weights: equitune.by_average(), 1)
    return translate(plain, corpus)


def correct(words: Int[Tensor, "commands steps"], corpus: Corpus) -> Bool[Tensor, " commands"]:
    """Return whether each translation equals its target, EOS included."""
    steps = words.shape[1]
    targets = [target + [EOS] * (steps - len(target)) for target in corpus.targets]
    return (words == torch.tensor(targets)).all(dim=1)


def lengths(words: Int[Tensor, "commands steps"]) -> Int[Tensor, " commands"]:
    """Return the number of words up to the first EOS, included; all plus one if there is none."""
    ended = (words == EOS).cumsum(dim=1) > 0
    return (~ended).sum(dim=1) + 1


def accuracy(words: Int[Tensor, "commands steps"], corpus: Corpus) -> float:
    """Return the share of exactly right translations, 0 to 1."""
    return float(correct(words, corpus).double().mean())


def equivariance_error(translator: Translator, actions: WordActions, corpus: Corpus) -> float:
    """Return the largest share, over g, of commands with translate(g x) != g translate(x)."""
    mismatches = torch.zeros(actions.commands.group.order)
    for batch in corpus.batches():
        plain = translator(batch.commands.to(translator.model.device)).cpu()
        expected = actions.words.orbit(plain)
        for g, commands in enumerate(actions.commands.orbit(batch.commands)):
            words = translator(commands.to(translator.model.device)).cpu()
            mismatches[g] += (words != expected[g]).any(dim=1).sum()
    return float(mismatches.max()) / len(corpus)
