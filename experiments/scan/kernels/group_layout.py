"""Memory of the compiled trainer of `GroupSeq2Seq`: parameters in one vector, work arrays.

A function on the group is |G| rows. A group convolution is a product of its *gathered* rows with
the weights as one matrix: row g of the gathered function is f(g k) for all k side by side,
`[G, G * K]`, and the weights are `[G * K, outputs]`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.scan.kernels import parameter_vector as flat_vector
from experiments.scan.kernels.cells import GruCell, Kind
from experiments.scan.kernels.layout import Layer
from experiments.scan.nets.group_model import GroupSeq2Seq

COMBINE = "decoder.combine.weight"


class Symmetry(NamedTuple):
    """The group's product and its action on words.

    Attributes:
        products: Index of gh, `[G, G]`.
        commands: Command word g^-1 w, `[G, in_words]`.
        words: Action word g^-1 w, `[G, out_words]`.
        tied: Whether the words of an orbit share their output bias.
    """

    products: np.ndarray
    commands: np.ndarray
    words: np.ndarray
    tied: bool


class GroupWeights(NamedTuple):
    """All weights (or their gradients) as views of one vector. D = 2H is the decoder's width.

    Attributes:
        enc_embedding: `[in_words, H]`.
        encoder: The encoder's cell; `w_in` and `w_rec` are `[G * H, gates * H]`.
        dec_embedding: `[out_words, D]`.
        w_word: The part of the combining convolution that meets the word, `[G * D, D]`.
        w_context: The part that meets the attention context, `[G * D, D]`.
        b_combine: `[D]`.
        decoder: The decoder's cell; `w_in` and `w_rec` are `[G * D, gates * D]`.
        w_out: `[out_words, D]`.
        b_out: `[1, out_words]`.
    """

    enc_embedding: np.ndarray
    encoder: Layer
    dec_embedding: np.ndarray
    w_word: np.ndarray
    w_context: np.ndarray
    b_combine: np.ndarray
    decoder: Layer
    w_out: np.ndarray
    b_out: np.ndarray


class WordTape(NamedTuple):
    """An embedding followed by a convolution, for every word of a vocabulary of V at once.

    Row g of the result for word w depends only on z = g^-1 w, so V rows are enough.

    Attributes:
        rows: Row z is E[k^-1 z] for all k side by side, `[V, G * K]`.
        sums: Result, bias included, `[V, outputs]`.
        d_rows: Gradient of `rows`.
        d_sums: Gradient of `sums`.
    """

    rows: np.ndarray
    sums: np.ndarray
    d_rows: np.ndarray
    d_sums: np.ndarray


class CellTape(NamedTuple):
    """Record of a G-cell over at most n steps, with M rows each (|G| per sequence).

    Attributes:
        hidden: States, `[(n + 1) * M, H]`; block t is the state before step t.
        cell: Cell states, in the same way.
        gates: Activated gates, `[n * M, gates * H]`.
        extra: See `cells.cell_forward`, `[n * M, H]`.
        gathered: Gathered states before each step, `[n * M, G * H]`.
        d_in: Gradients of the input sums, `[n * M, gates * H]`.
        d_rec: Gradients of the recurrent sums; the same array as `d_in` where they are equal.
        sum_in: Scratch, `[M, gates * H]`.
        sum_rec: Scratch, `[M, gates * H]`.
        d_hidden: Running gradient of the hidden state, `[M, H]`.
        d_cell: Running gradient of the cell state, `[M, H]`.
        d_gathered: Scratch, `[M, G * H]`.
    """

    hidden: np.ndarray
    cell: np.ndarray
    gates: np.ndarray
    extra: np.ndarray
    gathered: np.ndarray
    d_in: np.ndarray
    d_rec: np.ndarray
    sum_in: np.ndarray
    sum_rec: np.ndarray
    d_hidden: np.ndarray
    d_cell: np.ndarray
    d_gathered: np.ndarray


class GroupTape(NamedTuple):
    """Record of one sequence: at most L command words and T decoder steps.

    An array named `flat_...` is a view of the array without the prefix, with the |G| rows of a
    function side by side.

    Attributes:
        heard: Embedding and input convolution of the command words.
        encoder: The encoder's cell, 2 |G| rows: the forward direction, then the backward one.
        outputs: Encoder outputs, `[L * G, D]`.
        d_outputs: Their gradient.
        gathered_outputs: `[L * G, G * D]`.
        d_gathered_outputs: Their gradient.
        keys: `gathered_outputs @ w_context`, `[L * G, D]`.
        d_keys: Their gradient.
        said: Embedding and convolution of the action words.
        decoder: The decoder's cell, |G| rows.
        combined: Input of the decoder's cell, `[T * G, D]`.
        d_combined: Gradient before the tanh, `[T * G, D]`.
        gathered: Gathered rows of `combined`, `[T * G, G * D]`.
        words: Decoder input words, `[T]`.
        attention: `[T, L]`.
        d_scores: Gradient of the logits of the attention, `[T, L]`.
        out_rows: Row z is E_out[g^-1 z] for all g side by side, `[out_words, G * D]`.
        d_out_rows: Their gradient.
        bias: Output bias in use, `[1, out_words]`.
        log_probs: `[T, out_words]`.
        d_logits: Gradient of the loss, `[T, out_words]`.
    """

    heard: WordTape
    encoder: CellTape
    outputs: np.ndarray
    flat_outputs: np.ndarray
    d_outputs: np.ndarray
    flat_d_outputs: np.ndarray
    gathered_outputs: np.ndarray
    d_gathered_outputs: np.ndarray
    keys: np.ndarray
    flat_keys: np.ndarray
    d_keys: np.ndarray
    flat_d_keys: np.ndarray
    said: WordTape
    decoder: CellTape
    flat_hidden: np.ndarray
    flat_d_hidden: np.ndarray
    combined: np.ndarray
    flat_combined: np.ndarray
    d_combined: np.ndarray
    flat_d_combined: np.ndarray
    gathered: np.ndarray
    words: np.ndarray
    attention: np.ndarray
    d_scores: np.ndarray
    out_rows: np.ndarray
    d_out_rows: np.ndarray
    bias: np.ndarray
    log_probs: np.ndarray
    d_logits: np.ndarray


def symmetry(model: GroupSeq2Seq) -> Symmetry:
    """Return the group of `model` as integer arrays."""
    tables = (
        model.group.table,
        model.encoder.embedding.inverse_table,
        model.decoder.embedding.inverse_table,
    )
    products, commands, words = (table.cpu().numpy().astype(np.int64) for table in tables)
    return Symmetry(products, commands, words, model.word_bias == "tied")


def flatten(model: GroupSeq2Seq, tensors: dict[str, Tensor]) -> np.ndarray:
    """Copy named tensors into one vector in this module's layout; see `flat.pack`.

    In the combining convolution, the word's part comes before the context's.
    """
    return flat_vector.pack(model, tensors, _turn)


def unflatten(model: GroupSeq2Seq, flat: np.ndarray) -> dict[str, Tensor]:
    """Invert `flatten`; the tensors own their memory."""
    return flat_vector.unpack(model, flat, _turn_back)


def _turn(name: str, tensor: Tensor) -> Tensor:
    return torch.stack(tensor.chunk(2, dim=1)) if name == COMBINE else tensor


def _turn_back(name: str, part: Tensor, shape: torch.Size) -> Tensor:
    if name == COMBINE:
        part = torch.cat(part.view(2, shape[0], -1, shape[2]).unbind(), dim=1)
    return part.view(shape)


def views(model: GroupSeq2Seq, flat: np.ndarray) -> GroupWeights:
    """Name the parts of a vector laid out by `flatten`; nothing is copied."""
    parts = flat_vector.pieces(model, flat)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parts[name] = parts[name].reshape(-1, parameter.shape[-1])

    def layer(prefix: str) -> Layer:
        names = ("input.weight", "hidden.weight", "input.bias", "hidden.bias")
        return Layer(*(parts[f"{prefix}.cell.{name}"] for name in names))

    w_word, w_context = np.split(parts[COMBINE], 2)
    return GroupWeights(
        enc_embedding=parts["encoder.embedding.weight"],
        encoder=layer("encoder"),
        dec_embedding=parts["decoder.embedding.weight"],
        w_word=w_word,
        w_context=w_context,
        b_combine=parts["decoder.combine.bias"],
        decoder=layer("decoder"),
        w_out=parts["decoder.out.weight"],
        b_out=parts["decoder.out.bias"].reshape(1, -1),
    )


def _word_tape(words: int, inputs: int, outputs: int, dtype: np.dtype) -> WordTape:
    shapes = ((words, inputs), (words, outputs)) * 2
    return WordTape(*(np.zeros(shape, dtype) for shape in shapes))


def _cell_tape(
    kind: Kind, order: int, steps: int, rows: int, width: int, dtype: np.dtype
) -> CellTape:
    gates, total = kind.gates * width, steps * rows
    d_in = np.zeros((total, gates), dtype)
    return CellTape(
        hidden=np.zeros((total + rows, width), dtype),
        cell=np.zeros((total + rows, width), dtype),
        gates=np.zeros((total, gates), dtype),
        extra=np.zeros((total, width), dtype),
        gathered=np.zeros((total, order * width), dtype),
        d_in=d_in,
        d_rec=np.zeros((total, gates), dtype) if isinstance(kind, GruCell) else d_in,
        sum_in=np.zeros((rows, gates), dtype),
        sum_rec=np.zeros((rows, gates), dtype),
        d_hidden=np.zeros((rows, width), dtype),
        d_cell=np.zeros((rows, width), dtype),
        d_gathered=np.zeros((rows, order * width), dtype),
    )


def make_tape(
    kind: Kind, model: GroupSeq2Seq, length: int, steps: int, dtype: np.dtype
) -> GroupTape:
    """Allocate the work arrays for commands up to `length` words and up to `steps` steps."""
    order, half, width = model.group.order, model.hidden, 2 * model.hidden
    flat, words = order * width, model.out_words
    decoder = _cell_tape(kind, order, steps, order, width, dtype)
    arrays = {
        "outputs": np.zeros((length * order, width), dtype),
        "d_outputs": np.zeros((length * order, width), dtype),
        "keys": np.zeros((length * order, width), dtype),
        "d_keys": np.zeros((length * order, width), dtype),
        "combined": np.zeros((steps * order, width), dtype),
        "d_combined": np.zeros((steps * order, width), dtype),
    }
    return GroupTape(
        heard=_word_tape(model.in_words, order * half, kind.gates * half, dtype),
        encoder=_cell_tape(kind, order, length, 2 * order, half, dtype),
        gathered_outputs=np.zeros((length * order, flat), dtype),
        d_gathered_outputs=np.zeros((length * order, flat), dtype),
        said=_word_tape(words, flat, width, dtype),
        decoder=decoder,
        flat_hidden=decoder.hidden.reshape(-1, flat),
        flat_d_hidden=decoder.d_hidden.reshape(-1, flat),
        gathered=np.zeros((steps * order, flat), dtype),
        words=np.zeros(steps, np.int64),
        attention=np.zeros((steps, length), dtype),
        d_scores=np.zeros((steps, length), dtype),
        out_rows=np.zeros((words, flat), dtype),
        d_out_rows=np.zeros((words, flat), dtype),
        bias=np.zeros((1, words), dtype),
        log_probs=np.zeros((steps, words), dtype),
        d_logits=np.zeros((steps, words), dtype),
        **arrays,
        **{f"flat_{name}": array.reshape(-1, flat) for name, array in arrays.items()},
    )
