"""Sequence-to-sequence models that are equivariant by construction (Gordon et al., ICLR 2020).

Every hidden vector becomes a function on a finite group G, an array of |G| rows, on which an
element u acts by (u f)(g) = f(u^-1 g). Every linear map becomes a group convolution. Replacing the
command words by their transforms then moves the rows of every hidden state and replaces the words
of the output distribution likewise. No dropout: the reference model has none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equitune import Relabel
from experiments.scan.nets.group_layers import GroupCell, GroupConvolution, WordRows, WordScores
from experiments.scan.nets.model import EncoderDecoder

WORD_BIASES = ("tied", "free")


class GroupState(NamedTuple):
    """The state of decoding; the encoder returns the first one.

    Attributes:
        outputs: Encoder states of the command, attended to at every step, `[B, L, G, 2H]`.
        hidden: Hidden state of the decoder, `[B, G, 2H]`.
        cell: Cell state of a G-LSTM decoder, `[B, G, 2H]`; zeros for the other cells.
    """

    outputs: Float[Tensor, "batch length group width"]
    hidden: Float[Tensor, "batch group width"]
    cell: Float[Tensor, "batch group width"]


class GroupEncoder(nn.Module):
    """Word embedding and one G-cell that reads the command in both directions.

    The backward direction reads the words before EOS from right to left, then EOS. Its states are
    put back at the positions of their words, EOS last, before they join the forward states.
    """

    def __init__(self, cell: str, commands: Relabel, hidden: int) -> None:
        """Draw the weights; see `GroupSeq2Seq`."""
        super().__init__()
        self.embedding = WordRows(commands, hidden)
        self.cell = GroupCell(cell, commands.group, hidden)

    def forward(self, commands: Int[Tensor, "batch length"]) -> GroupState:
        """Read commands of equal length; see `EncoderDecoder.encode`."""
        order = reading_order(commands.shape[1]).to(commands.device)
        both = torch.cat((commands, commands[:, order]))
        sums = self.cell.input(self.embedding(both))
        hidden = cell = sums.new_zeros(len(both), sums.shape[2], self.embedding.weight.shape[1])
        states = []
        for a in sums.unbind(1):
            hidden, cell = self.cell(a, hidden, cell)
            states.append(hidden)
        ahead, back = torch.stack(states, dim=1).chunk(2)
        outputs = torch.cat((ahead, back[:, order]), dim=-1)
        return GroupState(outputs, *(torch.cat(part.chunk(2), dim=-1) for part in (hidden, cell)))


class GroupDecoder(nn.Module):
    """One step of the attention decoder with rows of width `hidden`."""

    def __init__(self, cell: str, words: Relabel, hidden: int, word_bias: str) -> None:
        """Draw the weights; see `GroupSeq2Seq`."""
        super().__init__()
        self.embedding = WordRows(words, hidden)
        self.combine = GroupConvolution(words.group, 2 * hidden, hidden)
        self.cell = GroupCell(cell, words.group, hidden)
        self.out = WordScores(words, hidden, word_bias)

    def forward(
        self,
        state: GroupState,
        words: Int[Tensor, " batch"],
        dropout_mask: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, "batch words"], GroupState]:
        """Advance by one word; see `EncoderDecoder.step`."""
        scores = torch.einsum("blgk,bgk->bl", state.outputs, state.hidden)
        context = torch.einsum("bl,blgk->bgk", torch.softmax(scores, dim=1), state.outputs)
        joined = torch.cat((self.embedding(words), context), dim=-1)
        combined = torch.tanh(self.combine(joined))
        hidden, cell = self.cell(self.cell.input(combined), state.hidden, state.cell)
        return self.out(hidden), GroupState(state.outputs, hidden, cell)


class GroupSeq2Seq(EncoderDecoder):
    """Network from command words to action words, equivariant under a group acting on both.

    For every g the distribution for the command g x after the words g y is that for x after y,
    relabelled by g. Its state is `GroupState`. There is no dropout: masks are ignored.
    """

    encoder: GroupEncoder
    decoder: GroupDecoder

    def __init__(
        self,
        cell: str,
        commands: Relabel,
        words: Relabel,
        in_words: int = 15,
        out_words: int = 8,
        hidden: int = 64,
        word_bias: str = "tied",
        max_steps: int = 50,
    ) -> None:
        """Build the model with the reference's initialisation (global random generator).

        Args:
            cell: Recurrent cell, "RNN" (tanh), "GRU" or "LSTM".
            commands: The group's action on the command words.
            words: The same group's action on the action words.
            in_words: Size of the command vocabulary, with SOS and EOS. Default 15.
            out_words: Size of the action vocabulary, with SOS and EOS. Default 8.
            hidden: Units per encoder direction and group element; the decoder is twice as wide.
                Default 64.
            word_bias: "tied" (default) adds the orbit's mean bias to the logit of an action word;
                "free" adds the word's own, as the reference does, which breaks equivariance
                as soon as the biases of an orbit differ. The parameter is the same.
            max_steps: Longest decode, in words. Default 50.

        Raises:
            ValueError: If `cell` or `word_bias` is unknown, the actions belong to different groups,
                have another size than the vocabularies, or move SOS or EOS.
        """
        super().__init__(cell, in_words, out_words, hidden, max_steps)
        if word_bias not in WORD_BIASES:
            raise ValueError(f"unknown word_bias {word_bias!r}: choose {' or '.join(WORD_BIASES)}")
        _check_actions(commands, words, in_words, out_words)
        self.group = commands.group
        self.word_bias = word_bias
        self.encoder = GroupEncoder(cell, commands, hidden)
        self.decoder = GroupDecoder(cell, words, 2 * hidden, word_bias)


def reading_order(length: int) -> Int[Tensor, " length"]:
    """Return the positions in the backward direction's reading order (its own inverse).

    Args:
        length: Words of the command, EOS included.

    Returns:
        length - 2, ..., 0, length - 1, int64.
    """
    order = torch.arange(length)
    order[:-1] = order[:-1].flip(0)
    return order


def _check_actions(commands: Relabel, words: Relabel, in_words: int, out_words: int) -> None:
    if commands.group != words.group:
        raise ValueError(f"{commands.group} acts on commands but {words.group} on action words")
    special = torch.tensor([EncoderDecoder.SOS, EncoderDecoder.EOS])
    for name, action, size in (("command", commands, in_words), ("action", words, out_words)):
        if action.size != size:
            raise ValueError(f"the action permutes {action.size} {name} words, there are {size}")
        if (action.forward_table[:, special] != special).any():
            raise ValueError(f"the group must leave SOS and EOS alone, it moves {name} words 0, 1")
