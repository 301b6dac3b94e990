"""Layers that are equivariant by construction: the layers of `group_model`.

A hidden vector is a function on a finite group G, an array of |G| rows, on which an element u acts
by (u f)(g) = f(u^-1 g).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from equitune import FiniteGroup, Relabel
from experiments.scan.nets.model import GATES


class GroupConvolution(nn.Module):
    """Group convolution, out(g) = b + sum_h f(h) W[g^-1 h], for functions on a finite group.

    With h = g k the sum is over W[k] and f(g k): a plain linear layer on gathered rows.
    """

    products: Tensor

    def __init__(self, group: FiniteGroup, inputs: int, outputs: int, gates: int = 1) -> None:
        """Draw the weights as in the reference implementation.

        Args:
            group: The group G.
            inputs: Width K of the input rows.
            outputs: Width H of the rows of one gate.
            gates: Number of convolutions that are computed together. Default 1.

        The parameters are `weight`, `[G, K, gates * H]`, uniform up to 1 / sqrt(H), and `bias`,
        `[gates * H]`, uniform up to 1 / sqrt(K H).
        """
        super().__init__()
        self.weight = nn.Parameter(torch.empty(group.order, inputs, gates * outputs))
        self.bias = nn.Parameter(torch.empty(gates * outputs))
        self.register_buffer("products", group.table, persistent=False)
        _draw(self.weight, outputs)
        _draw(self.bias, inputs * outputs)

    def forward(
        self, f: Float[Tensor, "*batch group inputs"]
    ) -> Float[Tensor, "*batch group outputs"]:
        """Convolve `[..., G, K]` to `[..., G, gates * H]`."""
        gathered = f[..., self.products, :].flatten(-2)
        return gathered @ self.weight.flatten(0, 1) + self.bias


class WordRows(nn.Module):
    """Word embedding: maps word w to the function g -> E[g^-1 w]."""

    inverse_table: Tensor

    def __init__(self, words: Relabel, width: int) -> None:
        """Draw E, `weight` `[V, width]`, from the standard normal distribution.

        Args:
            words: The group's action on the V words.
            width: Width of the rows.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(words.size, width))
        self.register_buffer("inverse_table", words.inverse_table, persistent=False)

    def forward(self, words: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch group width"]:
        """Embed words `[...]` as `[..., G, width]`."""
        return F.embedding(self.inverse_table.t()[words], self.weight)


class WordScores(nn.Module):
    """Output layer: the logit of word z is sum_g h(g) . E[g^-1 z] + b_z."""

    inverse_table: Tensor

    def __init__(self, words: Relabel, width: int, word_bias: str) -> None:
        """Draw `weight` `[V, width]` and `bias` `[V]`, uniform up to 1 / sqrt(width).

        Args:
            words: The group's action on the V words.
            width: Width of the hidden rows.
            word_bias: "tied" adds the mean of `bias` over the orbit of z, "free" `bias[z]`.
        """
        super().__init__()
        self.word_bias = word_bias
        self.weight = nn.Parameter(torch.empty(words.size, width))
        self.bias = nn.Parameter(torch.empty(words.size))
        self.register_buffer("inverse_table", words.inverse_table, persistent=False)
        _draw(self.weight, width)
        _draw(self.bias, width)

    def forward(self, hidden: Float[Tensor, "batch group width"]) -> Float[Tensor, "batch words"]:
        """Return the score of every word, `[B, V]`, from hidden rows `[B, G, width]`."""
        scores = torch.einsum("bgk,gzk->bz", hidden, self.weight[self.inverse_table])
        # Every word of an orbit occurs equally often among g^-1 z.
        tied = self.word_bias == "tied"
        return scores + (self.bias[self.inverse_table].mean(dim=0) if tied else self.bias)


class GroupCell(nn.Module):
    """RNN (tanh), GRU or LSTM cell whose linear maps are group convolutions.

    Gates are in PyTorch's order; the GRU's new gate is tanh(x_n + r * h_n), where h_n includes the
    bias of the recurrent convolution.
    """

    def __init__(self, cell: str, group: FiniteGroup, hidden: int) -> None:
        """Draw the weights; inputs are as wide as the state.

        Args:
            cell: "RNN", "GRU" or "LSTM".
            group: The group G.
            hidden: Width H of the rows.
        """
        super().__init__()
        self.cell = cell
        gates = GATES[cell]
        self.input = GroupConvolution(group, hidden, hidden, gates)
        self.hidden = GroupConvolution(group, hidden, hidden, gates)

    def forward(
        self,
        a: Float[Tensor, "batch group gates_hidden"],
        hidden: Float[Tensor, "batch group hidden"],
        cell: Float[Tensor, "batch group hidden"],
    ) -> tuple[Float[Tensor, "batch group hidden"], Float[Tensor, "batch group hidden"]]:
        """Advance by one step.

        Args:
            a: The step's input after `self.input`, `[B, G, gates * H]`.
            hidden: Previous hidden state, `[B, G, H]`.
            cell: Previous cell state, `[B, G, H]`; passed through unless this is an LSTM.

        Returns:
            The new hidden and cell state.
        """
        b = self.hidden(hidden)
        if self.cell == "RNN":
            return torch.tanh(a + b), cell
        if self.cell == "GRU":
            a_reset, a_update, a_new = a.chunk(3, dim=-1)
            b_reset, b_update, b_new = b.chunk(3, dim=-1)
            update = torch.sigmoid(a_update + b_update)
            new = torch.tanh(a_new + torch.sigmoid(a_reset + b_reset) * b_new)
            return new + update * (hidden - new), cell
        enter, keep, value, show = (a + b).chunk(4, dim=-1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(value)
        return torch.sigmoid(show) * torch.tanh(cell), cell


def _draw(parameter: nn.Parameter, size: int) -> None:
    """Fill a parameter uniformly up to 1 / sqrt(size)."""
    nn.init.uniform_(parameter, -1 / math.sqrt(size), 1 / math.sqrt(size))
