"""Memory of the compiled trainer: parameters in one vector, and the work arrays of one sequence.

Every matrix that multiplies a vector is stored input-major (transposed with respect to PyTorch), so
that the forward product, the backward product and the weight gradient all run along rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.scan.kernels import parameter_vector as flat_vector
from experiments.scan.kernels.cells import GruCell, Kind
from experiments.scan.nets.model import Seq2Seq


class Layer(NamedTuple):
    """Weights of one recurrent layer (or their gradients).

    Attributes:
        w_in: Input weights, `[inputs, gates * H]`.
        w_rec: Recurrent weights, `[H, gates * H]`.
        b_in: Bias of the input sum, `[gates * H]`.
        b_rec: Bias of the recurrent sum, `[gates * H]`.
    """

    w_in: np.ndarray
    w_rec: np.ndarray
    b_in: np.ndarray
    b_rec: np.ndarray


class Weights(NamedTuple):
    """All weights (or their gradients) as views of one vector. D = 2H is the decoder's width.

    Attributes:
        enc_embedding: `[in_words, H]`.
        ahead: Encoder layer that reads left to right.
        back: Encoder layer that reads right to left.
        dec_embedding: `[out_words, D]`.
        w_word: Rows of the combining layer for the word embedding, `[D, D]`.
        w_context: Rows of the combining layer for the attention context, `[D, D]`.
        b_combine: `[D]`.
        decoder: Decoder layer.
        w_out: `[out_words, D]`, PyTorch's layout.
        b_out: `[out_words]`.
    """

    enc_embedding: np.ndarray
    ahead: Layer
    back: Layer
    dec_embedding: np.ndarray
    w_word: np.ndarray
    w_context: np.ndarray
    b_combine: np.ndarray
    decoder: Layer
    w_out: np.ndarray
    b_out: np.ndarray


class LayerTape(NamedTuple):
    """Record of one recurrent layer over at most n steps, in processing order.

    Attributes:
        inputs: `[n, inputs]`.
        hidden: Row t is the state before step t, row t + 1 the one after it, `[n + 1, H]`.
        cell: Cell states in the same way, `[n + 1, H]`.
        gates: Activated gates, `[n, gates * H]`.
        extra: See `cells.cell_forward`, `[n, H]`.
        d_in: Gradients of the input sums, `[n, gates * H]`.
        d_rec: Gradients of the recurrent sums; the same array as `d_in` where they are equal.
        sum_in: Scratch, `[gates * H]`.
        sum_rec: Scratch, `[gates * H]`.
        d_hidden: Running gradient of the hidden state, `[H]`.
        d_cell: Running gradient of the cell state, `[H]`.
    """

    inputs: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray
    gates: np.ndarray
    extra: np.ndarray
    d_in: np.ndarray
    d_rec: np.ndarray
    sum_in: np.ndarray
    sum_rec: np.ndarray
    d_hidden: np.ndarray
    d_cell: np.ndarray


class Tape(NamedTuple):
    """Record of one sequence: at most L command words and T decoder steps.

    Attributes:
        ahead: Encoder layer, left to right.
        back: Encoder layer, right to left.
        decoder: Decoder layer; its inputs are the rectified combinations.
        outputs: Encoder outputs, `[L, D]`.
        d_outputs: Their gradient, `[L, D]`.
        keys: `outputs @ w_context`, `[L, D]`.
        d_keys: Gradient of `keys`, `[L, D]`.
        words: Decoder input words, `[T]`.
        masks: Dropout factors, `[T, D]`.
        embedded: Dropped-out word embeddings, `[T, D]`.
        attention: `[T, L]`.
        d_combined: Gradient before the rectifier, `[T, D]`.
        log_probs: `[T, out_words]`.
        d_log_probs: Gradient of the loss with respect to `log_probs`, `[T, out_words]`.
        d_logits: `[T, out_words]`.
        scratch: Vector at least as wide as any layer input, `[D]`.
        rows: Scratch for lists of active rows, `[D + 1]`.
        everything: 0, 1, ..., D - 1.
    """

    ahead: LayerTape
    back: LayerTape
    decoder: LayerTape
    outputs: np.ndarray
    d_outputs: np.ndarray
    keys: np.ndarray
    d_keys: np.ndarray
    words: np.ndarray
    masks: np.ndarray
    embedded: np.ndarray
    attention: np.ndarray
    d_combined: np.ndarray
    log_probs: np.ndarray
    d_log_probs: np.ndarray
    d_logits: np.ndarray
    scratch: np.ndarray
    rows: np.ndarray
    everything: np.ndarray


def _is_input_major(name: str) -> bool:
    return name.endswith(("weight_ih_l0", "weight_hh_l0", "_reverse", "combine.weight"))


def flatten(model: Seq2Seq, tensors: dict[str, Tensor]) -> np.ndarray:
    """Copy named tensors in PyTorch's layout into one vector in this module's; see `flat.pack`."""
    return flat_vector.pack(model, tensors, _turn)


def unflatten(model: Seq2Seq, flat: np.ndarray) -> dict[str, Tensor]:
    """Invert `flatten`; the tensors own their memory."""
    return flat_vector.unpack(model, flat, _turn_back)


def _turn(name: str, tensor: Tensor) -> Tensor:
    return tensor.t() if _is_input_major(name) and tensor.ndim == 2 else tensor


def _turn_back(name: str, part: Tensor, shape: torch.Size) -> Tensor:
    if _is_input_major(name) and len(shape) == 2:
        return part.view(shape[1], shape[0]).t()
    return part.view(shape)


def views(model: Seq2Seq, flat: np.ndarray) -> Weights:
    """Name the parts of a vector laid out by `flatten`; nothing is copied."""
    parts = flat_vector.pieces(model, flat)
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        turned = _is_input_major(name) and len(shape) == 2
        parts[name] = parts[name].reshape(shape[::-1] if turned else shape)

    def layer(prefix: str, suffix: str = "") -> Layer:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return Layer(*(parts[f"{prefix}.rnn.{name}{suffix}"] for name in names))

    width = 2 * model.hidden
    combine = parts["decoder.combine.weight"]
    return Weights(
        enc_embedding=parts["encoder.embedding.weight"],
        ahead=layer("encoder"),
        back=layer("encoder", "_reverse"),
        dec_embedding=parts["decoder.embedding.weight"],
        w_word=combine[:width],
        w_context=combine[width:],
        b_combine=parts["decoder.combine.bias"],
        decoder=layer("decoder"),
        w_out=parts["decoder.out.weight"],
        b_out=parts["decoder.out.bias"],
    )


def _layer_tape(kind: Kind, steps: int, width: int, dtype: np.dtype) -> LayerTape:
    gates = kind.gates * width
    d_in = np.zeros((steps, gates), dtype)
    return LayerTape(
        inputs=np.zeros((steps, width), dtype),
        hidden=np.zeros((steps + 1, width), dtype),
        cell=np.zeros((steps + 1, width), dtype),
        gates=np.zeros((steps, gates), dtype),
        extra=np.zeros((steps, width), dtype),
        d_in=d_in,
        d_rec=np.zeros((steps, gates), dtype) if isinstance(kind, GruCell) else d_in,
        sum_in=np.zeros(gates, dtype),
        sum_rec=np.zeros(gates, dtype),
        d_hidden=np.zeros(width, dtype),
        d_cell=np.zeros(width, dtype),
    )


def make_tape(kind: Kind, model: Seq2Seq, length: int, steps: int, dtype: np.dtype) -> Tape:
    """Allocate the work arrays for commands up to `length` words and up to `steps` steps."""
    width, words = 2 * model.hidden, model.out_words
    return Tape(
        ahead=_layer_tape(kind, length, model.hidden, dtype),
        back=_layer_tape(kind, length, model.hidden, dtype),
        decoder=_layer_tape(kind, steps, width, dtype),
        outputs=np.zeros((length, width), dtype),
        d_outputs=np.zeros((length, width), dtype),
        keys=np.zeros((length, width), dtype),
        d_keys=np.zeros((length, width), dtype),
        words=np.zeros(steps, np.int32),
        masks=np.zeros((steps, width), dtype),
        embedded=np.zeros((steps, width), dtype),
        attention=np.zeros((steps, length), dtype),
        d_combined=np.zeros((steps, width), dtype),
        log_probs=np.zeros((steps, words), dtype),
        d_log_probs=np.zeros((steps, words), dtype),
        d_logits=np.zeros((steps, words), dtype),
        scratch=np.zeros(width, dtype),
        rows=np.zeros(width + 1, np.int64),
        everything=np.arange(width),
    )
