"""The recurrent sequence-to-sequence model of the SCAN experiments, in plain PyTorch.

Bidirectional one-layer encoder, one-layer decoder with dot-product attention on its previous
hidden state. One class serves the three cell types; only the recurrent layers differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

CELLS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
#: Blocks of the sums of a recurrent layer, in PyTorch's order.
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


class EncoderState(NamedTuple):
    """The state of decoding; the encoder returns the first one.

    Attributes:
        outputs: Encoder states of the command, attended to at every step, `[B, L, 2H]`.
        hidden: Hidden state of the decoder, `[B, 2H]`.
        cell: Cell state of an LSTM decoder, `[B, 2H]`; zeros for the other cells.
    """

    outputs: Float[Tensor, "batch length width"]
    hidden: Float[Tensor, "batch width"]
    cell: Float[Tensor, "batch width"]


class Encoder(nn.Module):
    """Word embedding and a bidirectional recurrent layer of `hidden` units per direction."""

    def __init__(self, cell: str, words: int, hidden: int) -> None:
        """Draw the weights with PyTorch's default initialisation.

        Args:
            cell: "RNN", "GRU" or "LSTM".
            words: Size of the command vocabulary.
            hidden: Width of the embedding and of each direction.
        """
        super().__init__()
        self.embedding = nn.Embedding(words, hidden)
        self.rnn = CELLS[cell](hidden, hidden, bidirectional=True, batch_first=True)

    def forward(self, commands: Int[Tensor, "batch length"]) -> EncoderState:
        """Read commands of equal length; see `EncoderDecoder.encode`."""
        outputs, last = self.rnn(self.embedding(commands))
        hidden, cell = last if isinstance(last, tuple) else (last, torch.zeros_like(last))
        return EncoderState(outputs, _concat_directions(hidden), _concat_directions(cell))


class Decoder(nn.Module):
    """One step of the attention decoder of width `hidden`."""

    def __init__(self, cell: str, words: int, hidden: int, dropout: float) -> None:
        """Draw the weights with PyTorch's default initialisation.

        Args:
            cell: "RNN", "GRU" or "LSTM".
            words: Size of the action vocabulary.
            hidden: Width of the embedding and of the recurrent state.
            dropout: Probability of dropping a unit of the word embedding.
        """
        super().__init__()
        self.embedding = nn.Embedding(words, hidden)
        self.dropout = nn.Dropout(dropout)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.rnn = CELLS[cell](hidden, hidden)
        self.out = nn.Linear(hidden, words)

    def forward(
        self,
        state: EncoderState,
        words: Int[Tensor, " batch"],
        dropout_mask: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, "batch words"], EncoderState]:
        """Advance by one word; see `EncoderDecoder.step`."""
        embedded = self.embedding(words)
        embedded = self.dropout(embedded) if dropout_mask is None else embedded * dropout_mask
        scores = torch.einsum("blh,bh->bl", state.outputs, state.hidden)
        context = torch.einsum("bl,blh->bh", torch.softmax(scores, dim=1), state.outputs)
        combined = torch.relu(self.combine(torch.cat((embedded, context), dim=1)))
        hidden, cell = state.hidden[None], state.cell[None]
        if isinstance(self.rnn, nn.LSTM):
            _, (hidden, cell) = self.rnn(combined[None], (hidden, cell))
        else:
            _, hidden = self.rnn(combined[None], hidden)
        return self.out(hidden[0]), EncoderState(state.outputs, hidden[0], cell[0])


class EncoderDecoder(nn.Module):
    """Base class of the networks: from command words to action words, one word at a time.

    Parameters of the encoder are named `encoder.*`, those of the decoder `decoder.*`: the two are
    clipped and optimised separately.

    Attributes:
        cell: "RNN", "GRU" or "LSTM".
        in_words: Size of the command vocabulary, with SOS and EOS.
        out_words: Size of the action vocabulary, with SOS and EOS.
        hidden: Units per encoder direction; the decoder is twice as wide.
        max_steps: Longest decode, in words.
    """

    SOS = 0
    EOS = 1

    encoder: nn.Module
    decoder: nn.Module

    def __init__(
        self, cell: str, in_words: int, out_words: int, hidden: int, max_steps: int
    ) -> None:
        """Store the sizes.

        Raises:
            ValueError: If `cell` is unknown.
        """
        super().__init__()
        if cell not in GATES:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(GATES)}")
        self.cell = cell
        self.in_words = in_words
        self.out_words = out_words
        self.hidden = hidden
        self.max_steps = max_steps

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    def encode(self, commands: Int[Tensor, "batch length"]) -> Any:
        """Read a batch of commands.

        Args:
            commands: Word indices, EOS included and last, `[B, L]`. All commands have the same
                length: attention runs over every position, so there is no padding.

        Returns:
            The first state of decoding (last forward state, then last backward state), a named
            tuple of tensors `[B, ...]`, among them `hidden`.
        """
        return self.encoder(commands)

    def step(
        self,
        state: Any,
        words: Int[Tensor, " batch"],
        dropout_mask: Float[Tensor, "batch width"] | None = None,
        *,
        logits: bool = False,
    ) -> tuple[Float[Tensor, "batch words"], Any]:
        """Decode one word. The old state stays valid.

        Args:
            state: The state returned by `encode` or by the previous step.
            words: The previous action words (SOS at first), `[B]`.
            dropout_mask: Factors for the word embedding, 0 or 1 / (1 - p), `[B, 2H]`. Default
                None: `nn.Dropout`, which draws them in training mode and is the identity in
                evaluation mode. A network without dropout ignores it.
            logits: Whether to return logits instead of their log-softmax. Default False.

        Returns:
            Log-probabilities (or logits) of the next word, `[B, out_words]`, and the new state.
        """
        scores, after = self.decoder(state, words, dropout_mask)
        return scores if logits else F.log_softmax(scores, dim=1), after

    def forward_teacher(
        self,
        commands: Int[Tensor, "batch length"],
        targets: Int[Tensor, "batch steps"],
        dropout_mask: Float[Tensor, "batch steps width"] | None = None,
    ) -> Float[Tensor, "batch steps words"]:
        """Decode with the true previous words as input (SOS, then the targets shifted by one).

        Args:
            commands: Word indices of equal length, EOS included, `[B, L]`.
            targets: Action words, EOS included, `[B, T]`; padding may follow EOS; its positions
                are computed like any other, and the caller must ignore them.
            dropout_mask: Factors for the word embeddings, `[B, T, 2H]`; see `step`.

        Returns:
            Log-probabilities, `[B, T, out_words]`.
        """
        state = self.encode(commands)
        start = torch.full_like(targets[:, :1], self.SOS)
        rows = []
        for position, words in enumerate(torch.cat((start, targets[:, :-1]), dim=1).unbind(1)):
            mask = None if dropout_mask is None else dropout_mask[:, position]
            log_probs, state = self.step(state, words, mask)
            rows.append(log_probs)
        return torch.stack(rows, dim=1)


class Seq2Seq(EncoderDecoder):
    """The plain model (paper, Sec. 5.4: one layer of 64 units); its state is `EncoderState`.

    It omits layers of the reference implementation that never receive a gradient.
    """

    def __init__(
        self,
        cell: str,
        in_words: int = 15,
        out_words: int = 8,
        hidden: int = 64,
        dropout: float = 0.1,
        max_steps: int = 50,
    ) -> None:
        """Build the model with PyTorch's default initialisation (global random generator).

        Args:
            cell: Recurrent cell, "RNN" (tanh), "GRU" or "LSTM".
            in_words: Size of the command vocabulary, with SOS and EOS. Default 15.
            out_words: Size of the action vocabulary, with SOS and EOS. Default 8.
            hidden: Units per encoder direction; the decoder is twice as wide. Default 64.
            dropout: Probability of dropping a unit of the decoder's word embedding. Default 0.1.
            max_steps: Longest decode, in words. Default 50.

        Raises:
            ValueError: If `cell` is unknown.
        """
        super().__init__(cell, in_words, out_words, hidden, max_steps)
        self.encoder = Encoder(cell, in_words, hidden)
        self.decoder = Decoder(cell, out_words, 2 * hidden, dropout)


def _concat_directions(last: Float[Tensor, "two batch hidden"]) -> Float[Tensor, "batch width"]:
    return torch.cat((last[0], last[1]), dim=1)
