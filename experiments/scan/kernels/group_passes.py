"""Forward and backward pass of `GroupSeq2Seq` on one sequence, compiled; see `group_layout`.

Some parts do not depend on the step and run once per sequence: word embeddings and their
convolutions for whole vocabularies, the context's part of the combining convolution (`keys`), the
gradients of attention with respect to the encoder outputs, and all weight gradients.
"""

from __future__ import annotations

import math

import numpy as np

from experiments.scan.kernels.cells import Kind
from experiments.scan.kernels.group_layout import GroupTape, GroupWeights, Symmetry
from experiments.scan.kernels.group_parts import (
    add_gathered,
    advance,
    advance_back,
    average_bias,
    collect,
    fill,
    gather,
    log_softmax,
    read_words,
    read_words_back,
    recur,
    recur_back,
    softmax,
    spread,
)
from experiments.scan.kernels.matrix import (
    add_product,
    add_product_transposed,
    clear_rows,
    outer_sum,
)
from experiments.scan.kernels.numerics import add_scaled, column_sum, copy, jit, tanh
from experiments.scan.nets.model import Seq2Seq

SOS, EOS = Seq2Seq.SOS, Seq2Seq.EOS


# --- encoder ------------------------------------------------------------------------------


@jit
def prepare_words(weights: GroupWeights, symmetry: Symmetry, tape: GroupTape) -> None:
    """Fill the arrays that depend only on the weights: both vocabularies and the output layer."""
    read_words(
        tape.heard,
        weights.enc_embedding,
        weights.encoder.w_in,
        weights.encoder.b_in,
        symmetry.commands,
    )
    read_words(tape.said, weights.dec_embedding, weights.w_word, weights.b_combine, symmetry.words)
    spread(tape.out_rows, weights.w_out, symmetry.words)
    average_bias(tape.bias, weights.b_out, symmetry)


@jit
def position(t: int, direction: int, length: int) -> int:
    """Return the position of the word that a direction reads at step `t`; the last stays last."""
    if direction == 0 or t == length - 1:
        return t
    return length - 2 - t


@jit
def encode(
    kind: Kind,
    weights: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    command: np.ndarray,
) -> None:
    """Read a command: fills `outputs`, `keys` and the decoder's first state."""
    order, length, half = symmetry.products.shape[0], command.shape[0], tape.encoder.hidden.shape[1]
    cell = tape.encoder
    for t in range(length):
        recur(weights.encoder, cell, t, symmetry.products)
        for m in range(2 * order):
            direction, g = m // order, m % order
            place = position(t, direction, length)
            word = symmetry.commands[g, command[place]]
            advance(kind, cell, t, m, tape.heard.sums[word])
            side = slice(direction * half, (direction + 1) * half)
            copy(tape.outputs[place * order + g, side], cell.hidden[(t + 1) * 2 * order + m])
    for m in range(2 * order):
        direction, g = m // order, m % order
        side = slice(direction * half, (direction + 1) * half)
        copy(tape.decoder.hidden[g, side], cell.hidden[length * 2 * order + m])
        copy(tape.decoder.cell[g, side], cell.cell[length * 2 * order + m])
    used = length * order
    gather(tape.gathered_outputs[:used], tape.outputs[:used], symmetry.products)
    clear_rows(tape.keys[:used])
    add_product(tape.keys[:used], tape.gathered_outputs[:used], weights.w_context)


@jit
def encode_back(
    kind: Kind,
    weights: GroupWeights,
    gradients: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    command: np.ndarray,
) -> None:
    """Backward pass of `encode`, after `decode_back`. Writes the encoder's weight gradients."""
    order, length, half = symmetry.products.shape[0], command.shape[0], tape.encoder.hidden.shape[1]
    cell, rows = tape.encoder, 2 * order
    one = cell.hidden.dtype.type(1)
    for m in range(rows):
        direction, g = m // order, m % order
        side = slice(direction * half, (direction + 1) * half)
        copy(cell.d_hidden[m], tape.decoder.d_hidden[g, side])
        copy(cell.d_cell[m], tape.decoder.d_cell[g, side])
    clear_rows(tape.heard.d_sums)
    for t in range(length - 1, -1, -1):
        for m in range(rows):
            direction, g = m // order, m % order
            side = slice(direction * half, (direction + 1) * half)
            place = position(t, direction, length)
            add_scaled(cell.d_hidden[m], one, tape.d_outputs[place * order + g, side])
        advance_back(kind, cell, t)
        for m in range(rows):
            direction, g = m // order, m % order
            word = symmetry.commands[g, command[position(t, direction, length)]]
            add_scaled(tape.heard.d_sums[word], one, cell.d_in[t * rows + m])
        if t > 0:
            recur_back(weights.encoder, cell, t, symmetry.products)
    used = length * rows
    outer_sum(gradients.encoder.w_rec, cell.gathered[:used], cell.d_rec[:used])
    column_sum(gradients.encoder.b_rec, cell.d_rec, used)
    read_words_back(
        tape.heard,
        weights.encoder.w_in,
        symmetry.commands,
        gradients.enc_embedding,
        gradients.encoder.w_in,
        gradients.encoder.b_in,
    )


# --- decoder ------------------------------------------------------------------------------


@jit
def combine(symmetry: Symmetry, tape: GroupTape, length: int, t: int, word: int) -> None:
    """Attend to the command and combine context and `word`; write `combined` of step `t`."""
    order = symmetry.products.shape[0]
    attention = tape.attention[t : t + 1, :length]
    clear_rows(attention)
    add_product_transposed(attention, tape.flat_hidden[t : t + 1], tape.flat_outputs[:length])
    softmax(tape.attention[t], length)
    tape.words[t] = word
    combined = tape.combined[t * order : (t + 1) * order]
    for g in range(order):
        copy(combined[g], tape.said.sums[symmetry.words[g, word]])
    add_product(tape.flat_combined[t : t + 1], attention, tape.flat_keys[:length])
    for g in range(order):
        for unit in range(combined.shape[1]):
            combined[g, unit] = tanh(combined[g, unit])


@jit
def decode_step(
    kind: Kind,
    weights: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    length: int,
    t: int,
    word: int,
) -> int:
    """Do decoder step `t` on input `word`; return the most probable word."""
    order, cell = symmetry.products.shape[0], tape.decoder
    now = slice(t * order, (t + 1) * order)
    combine(symmetry, tape, length, t, word)
    gather(tape.gathered[now], tape.combined[now], symmetry.products)
    fill(cell.sum_in, weights.decoder.b_in)
    add_product(cell.sum_in, tape.gathered[now], weights.decoder.w_in)
    recur(weights.decoder, cell, t, symmetry.products)
    for g in range(order):
        advance(kind, cell, t, g, cell.sum_in[g])
    copy(tape.log_probs[t], tape.bias[0])
    add_product_transposed(
        tape.log_probs[t : t + 1], tape.flat_hidden[t + 1 : t + 2], tape.out_rows
    )
    return log_softmax(tape.log_probs[t])


@jit
def decode(
    kind: Kind,
    weights: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    length: int,
    target: np.ndarray,
    teacher: bool,
) -> int:
    """Decode after `encode`, until EOS is most probable or the target ends.

    Args:
        kind: Tag of the cell.
        weights: Parameters.
        symmetry: The group.
        tape: Work arrays.
        length: Words of the command.
        target: Action words.
        teacher: Whether to feed the target back instead of the decoder's choice.

    Returns:
        Number of steps taken.
    """
    word = SOS
    for t in range(target.shape[0]):
        best = decode_step(kind, weights, symmetry, tape, length, t, word)
        if best == EOS:
            return t + 1
        word = target[t] if teacher else best
    return len(target)


@jit
def nll(tape: GroupTape, target: np.ndarray, steps: int, mean: bool) -> float:
    """Return the negative log-likelihood of `steps` steps, sum or mean; write `d_logits`."""
    loss = 0.0
    scale = 1.0 / steps if mean else 1.0
    for t in range(steps):
        for word in range(tape.d_logits.shape[1]):
            tape.d_logits[t, word] = scale * math.exp(tape.log_probs[t, word])
        tape.d_logits[t, target[t]] -= scale
        loss -= tape.log_probs[t, target[t]]
    return loss * scale


@jit
def combine_back(symmetry: Symmetry, tape: GroupTape, length: int, t: int) -> None:
    """Backward pass of `combine`, from the gradient of `combined` (in `d_combined`)."""
    order = symmetry.products.shape[0]
    one = tape.combined.dtype.type(1)
    for g in range(order):
        d_combined, combined = tape.d_combined[t * order + g], tape.combined[t * order + g]
        for unit in range(d_combined.shape[0]):
            d_combined[unit] -= d_combined[unit] * combined[unit] * combined[unit]
        add_scaled(tape.said.d_sums[symmetry.words[g, tape.words[t]]], one, d_combined)
    scores = tape.d_scores[t : t + 1, :length]
    clear_rows(scores)
    add_product_transposed(scores, tape.flat_d_combined[t : t + 1], tape.flat_keys[:length])
    mean = scores[0, 0] - scores[0, 0]
    for j in range(length):
        mean += tape.attention[t, j] * scores[0, j]
    for j in range(length):
        scores[0, j] = tape.attention[t, j] * (scores[0, j] - mean)
    add_product(tape.flat_d_hidden, scores, tape.flat_outputs[:length])


@jit
def decode_back(
    kind: Kind,
    weights: GroupWeights,
    gradients: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    length: int,
    steps: int,
) -> None:
    """Backward pass of `decode`, from `d_logits`.

    Writes the decoder's weight gradients, `d_outputs`, and (in `decoder.d_hidden` and
    `decoder.d_cell`) the gradient of the decoder's first state.
    """
    order, cell = symmetry.products.shape[0], tape.decoder
    clear_rows(cell.d_hidden)
    clear_rows(cell.d_cell)
    clear_rows(tape.said.d_sums)
    for t in range(steps - 1, -1, -1):
        now = slice(t * order, (t + 1) * order)
        add_product(tape.flat_d_hidden, tape.d_logits[t : t + 1], tape.out_rows)
        advance_back(kind, cell, t)
        clear_rows(cell.d_gathered)
        add_product_transposed(cell.d_gathered, cell.d_in[now], weights.decoder.w_in)
        clear_rows(tape.d_combined[now])
        add_gathered(tape.d_combined[now], cell.d_gathered, symmetry.products)
        recur_back(weights.decoder, cell, t, symmetry.products)
        combine_back(symmetry, tape, length, t)
    decoder_gradients(gradients, symmetry, tape, steps)
    read_words_back(
        tape.said,
        weights.w_word,
        symmetry.words,
        gradients.dec_embedding,
        gradients.w_word,
        gradients.b_combine,
    )
    context_back(weights, gradients, symmetry, tape, length, steps)


@jit
def decoder_gradients(
    gradients: GroupWeights, symmetry: Symmetry, tape: GroupTape, steps: int
) -> None:
    """Write the weight gradients of the decoder's cell and of the output layer."""
    cell, used = tape.decoder, steps * symmetry.products.shape[0]
    outer_sum(gradients.decoder.w_in, tape.gathered[:used], cell.d_in[:used])
    outer_sum(gradients.decoder.w_rec, cell.gathered[:used], cell.d_rec[:used])
    column_sum(gradients.decoder.b_in, cell.d_in, used)
    column_sum(gradients.decoder.b_rec, cell.d_rec, used)
    outer_sum(tape.d_out_rows, tape.d_logits[:steps], tape.flat_hidden[1 : steps + 1])
    collect(gradients.w_out, tape.d_out_rows, symmetry.words)
    column_sum(tape.bias[0], tape.d_logits, steps)
    average_bias(gradients.b_out, tape.bias, symmetry)


@jit
def context_back(
    weights: GroupWeights,
    gradients: GroupWeights,
    symmetry: Symmetry,
    tape: GroupTape,
    length: int,
    steps: int,
) -> None:
    """Write the gradients of `w_context` and, in `d_outputs`, of the encoder outputs."""
    used = length * symmetry.products.shape[0]
    outer_sum(
        tape.flat_d_keys[:length], tape.attention[:steps, :length], tape.flat_d_combined[:steps]
    )
    outer_sum(
        tape.flat_d_outputs[:length], tape.d_scores[:steps, :length], tape.flat_hidden[:steps]
    )
    outer_sum(gradients.w_context, tape.gathered_outputs[:used], tape.d_keys[:used])
    d_gathered = tape.d_gathered_outputs[:used]
    clear_rows(d_gathered)
    add_product_transposed(d_gathered, tape.d_keys[:used], weights.w_context)
    add_gathered(tape.d_outputs[:used], d_gathered, symmetry.products)
