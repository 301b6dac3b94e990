"""Parts of the compiled passes of `GroupSeq2Seq`: rows, vocabularies, cells; see `group_layout`."""

from __future__ import annotations

import math

import numpy as np

from experiments.scan.kernels.cells import Kind, cell_backward, cell_forward
from experiments.scan.kernels.group_layout import CellTape, Symmetry, WordTape
from experiments.scan.kernels.layout import Layer
from experiments.scan.kernels.matrix import (
    add_product,
    add_product_transposed,
    clear_rows,
    outer_sum,
)
from experiments.scan.kernels.numerics import add_scaled, column_sum, copy, jit

# --- functions on the group ---------------------------------------------------------------


@jit
def gather(gathered: np.ndarray, f: np.ndarray, products: np.ndarray) -> None:
    """Write f(g k), for all k side by side, to row g; several functions may be stacked."""
    order, width = products.shape[0], f.shape[1]
    for start in range(0, f.shape[0], order):
        for g in range(order):
            for k in range(order):
                part = gathered[start + g, k * width : (k + 1) * width]
                copy(part, f[start + products[g, k]])


@jit
def add_gathered(d_f: np.ndarray, d_gathered: np.ndarray, products: np.ndarray) -> None:
    """Backward pass of `gather`: adds to `d_f`."""
    order, width = products.shape[0], d_f.shape[1]
    one = d_f.dtype.type(1)
    for start in range(0, d_f.shape[0], order):
        for g in range(order):
            for k in range(order):
                part = d_gathered[start + g, k * width : (k + 1) * width]
                add_scaled(d_f[start + products[g, k]], one, part)


@jit
def spread(rows: np.ndarray, embedding: np.ndarray, inverse: np.ndarray) -> None:
    """Write E[k^-1 z], for all k side by side, to row z."""
    width = embedding.shape[1]
    for z in range(rows.shape[0]):
        for k in range(inverse.shape[0]):
            copy(rows[z, k * width : (k + 1) * width], embedding[inverse[k, z]])


@jit
def collect(d_embedding: np.ndarray, d_rows: np.ndarray, inverse: np.ndarray) -> None:
    """Backward pass of `spread`: writes `d_embedding`."""
    width = d_embedding.shape[1]
    one = d_embedding.dtype.type(1)
    clear_rows(d_embedding)
    for z in range(d_rows.shape[0]):
        for k in range(inverse.shape[0]):
            add_scaled(d_embedding[inverse[k, z]], one, d_rows[z, k * width : (k + 1) * width])


@jit
def fill(y: np.ndarray, bias: np.ndarray) -> None:
    """Set every row to `bias`."""
    for m in range(y.shape[0]):
        copy(y[m], bias)


# --- words --------------------------------------------------------------------------------


@jit
def read_words(
    tape: WordTape, embedding: np.ndarray, w: np.ndarray, bias: np.ndarray, inverse: np.ndarray
) -> None:
    """Embed and convolve every word of a vocabulary."""
    spread(tape.rows, embedding, inverse)
    fill(tape.sums, bias)
    add_product(tape.sums, tape.rows, w)


@jit
def read_words_back(
    tape: WordTape,
    w: np.ndarray,
    inverse: np.ndarray,
    d_embedding: np.ndarray,
    d_w: np.ndarray,
    d_bias: np.ndarray,
) -> None:
    """Backward pass of `read_words`, from `d_sums`; writes the three gradients."""
    outer_sum(d_w, tape.rows, tape.d_sums)
    column_sum(d_bias, tape.d_sums, tape.d_sums.shape[0])
    clear_rows(tape.d_rows)
    add_product_transposed(tape.d_rows, tape.d_sums, w)
    collect(d_embedding, tape.d_rows, inverse)


@jit
def average_bias(out: np.ndarray, bias: np.ndarray, symmetry: Symmetry) -> None:
    """Write the orbit means of `bias` `[1, V]`, or `bias` itself; also its backward pass."""
    order = symmetry.words.shape[0]
    for z in range(out.shape[1]):
        out[0, z] = bias[0, z]
        if symmetry.tied:
            mean = bias[0, z] - bias[0, z]
            for g in range(order):
                mean += bias[0, symmetry.words[g, z]]
            out[0, z] = mean / order


# --- recurrent cell -----------------------------------------------------------------------


@jit
def recur(layer: Layer, tape: CellTape, t: int, products: np.ndarray) -> None:
    """Write the recurrent sums of step `t` to `sum_rec`."""
    rows = tape.sum_rec.shape[0]
    now = slice(t * rows, (t + 1) * rows)
    gather(tape.gathered[now], tape.hidden[now], products)
    fill(tape.sum_rec, layer.b_rec)
    add_product(tape.sum_rec, tape.gathered[now], layer.w_rec)


@jit
def advance(kind: Kind, tape: CellTape, t: int, m: int, sum_in: np.ndarray) -> None:
    """Advance row `m` by step `t`, given its input sum, after `recur`."""
    rows = tape.sum_rec.shape[0]
    row = t * rows + m
    cell_forward(
        kind,
        sum_in,
        tape.sum_rec[m],
        tape.hidden[row],
        tape.cell[row],
        tape.gates[row],
        tape.extra[row],
        tape.hidden[row + rows],
        tape.cell[row + rows],
    )


@jit
def advance_back(kind: Kind, tape: CellTape, t: int) -> None:
    """Backward pass of `advance` on `d_hidden` and `d_cell`, without the part of `recur`."""
    rows = tape.sum_rec.shape[0]
    for m in range(rows):
        row = t * rows + m
        cell_backward(
            kind,
            tape.d_hidden[m],
            tape.d_cell[m],
            tape.hidden[row],
            tape.cell[row],
            tape.gates[row],
            tape.extra[row],
            tape.d_in[row],
            tape.d_rec[row],
        )


@jit
def recur_back(layer: Layer, tape: CellTape, t: int, products: np.ndarray) -> None:
    """Add to `d_hidden` the gradient through the recurrent sums of step `t`."""
    rows = tape.sum_rec.shape[0]
    clear_rows(tape.d_gathered)
    add_product_transposed(tape.d_gathered, tape.d_rec[t * rows : (t + 1) * rows], layer.w_rec)
    add_gathered(tape.d_hidden, tape.d_gathered, products)


# --- softmax ------------------------------------------------------------------------------


@jit
def softmax(x: np.ndarray, count: int) -> None:
    """Replace the first `count` numbers by their softmax."""
    highest = x[0]
    for j in range(1, count):
        highest = max(highest, x[j])
    total = 0.0
    for j in range(count):
        x[j] = math.exp(x[j] - highest)
        total += x[j]
    for j in range(count):
        x[j] /= total


@jit
def log_softmax(x: np.ndarray) -> int:
    """Replace logits by log-probabilities; return the (first) most probable word."""
    best = 0
    for word in range(x.shape[0]):
        if x[word] > x[best]:
            best = word
    highest = x[best]
    total = 0.0
    for word in range(x.shape[0]):
        total += math.exp(x[word] - highest)
    normaliser = highest + math.log(total)
    for word in range(x.shape[0]):
        x[word] -= normaliser
    return best
