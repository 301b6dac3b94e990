"""Forward and backward pass of `Seq2Seq` on one sequence, compiled.

The parts are separate functions that communicate through the tape: encode, decode, a loss that
writes the gradient of the log-probabilities, and the two backward passes. A loss over several
branches (fine-tuning on a group orbit) runs the forward parts on one tape per branch, writes
`d_log_probs` of each, and runs the backward parts.

The linear layer that follows attention is applied to the encoder outputs once per sequence
(`keys`) instead of to the context at every step: sum_j a_j (W o_j) = W sum_j a_j o_j. Weight
gradients are formed once per sequence, as sums of outer products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.scan.kernels.cells import Kind, cell_backward, cell_forward
from experiments.scan.kernels.layout import Layer, LayerTape, Tape, Weights
from experiments.scan.kernels.numerics import (
    active,
    add_dots,
    add_product,
    add_scaled,
    clear,
    column_sum,
    copy,
    dot,
    dropout_row,
    jit,
    outer_sum,
)
from experiments.scan.nets.model import Seq2Seq

SOS, EOS = Seq2Seq.SOS, Seq2Seq.EOS


@jit
def layer_step(kind: Kind, layer: Layer, tape: LayerTape, t: int, index: np.ndarray) -> None:
    """Advance a recurrent layer by its step `t`; `tape.inputs[t]` is set."""
    copy(tape.sum_in, layer.b_in)
    copy(tape.sum_rec, layer.b_rec)
    add_product(tape.sum_in, tape.inputs[t], layer.w_in, index)
    add_product(tape.sum_rec, tape.hidden[t], layer.w_rec, index)
    cell_forward(
        kind,
        tape.sum_in,
        tape.sum_rec,
        tape.hidden[t],
        tape.cell[t],
        tape.gates[t],
        tape.extra[t],
        tape.hidden[t + 1],
        tape.cell[t + 1],
    )


@jit
def layer_step_back(
    kind: Kind, layer: Layer, tape: LayerTape, t: int, everything: np.ndarray
) -> None:
    """Backward pass of `layer_step` on `tape.d_hidden` and `tape.d_cell`."""
    cell_backward(
        kind,
        tape.d_hidden,
        tape.d_cell,
        tape.hidden[t],
        tape.cell[t],
        tape.gates[t],
        tape.extra[t],
        tape.d_in[t],
        tape.d_rec[t],
    )
    add_dots(tape.d_hidden, layer.w_rec, tape.d_rec[t], everything, tape.d_hidden.shape[0])


@jit
def layer_gradients(gradient: Layer, tape: LayerTape, steps: int) -> None:
    """Write the weight gradients of a recurrent layer."""
    outer_sum(gradient.w_in, tape.inputs, tape.d_in, steps)
    outer_sum(gradient.w_rec, tape.hidden, tape.d_rec, steps)
    column_sum(gradient.b_in, tape.d_in, steps)
    column_sum(gradient.b_rec, tape.d_rec, steps)


@jit
def encode(kind: Kind, weights: Weights, tape: Tape, command: np.ndarray) -> None:
    """Read a command: fills `outputs`, `keys` and the decoder's first state."""
    length = command.shape[0]
    half = weights.enc_embedding.shape[1]
    for t in range(length):
        copy(tape.ahead.inputs[t], weights.enc_embedding[command[t]])
        copy(tape.back.inputs[t], weights.enc_embedding[command[length - 1 - t]])
        layer_step(kind, weights.ahead, tape.ahead, t, tape.rows)
        layer_step(kind, weights.back, tape.back, t, tape.rows)
        copy(tape.outputs[t, :half], tape.ahead.hidden[t + 1])
        copy(tape.outputs[length - 1 - t, half:], tape.back.hidden[t + 1])
    copy(tape.decoder.hidden[0, :half], tape.ahead.hidden[length])
    copy(tape.decoder.hidden[0, half:], tape.back.hidden[length])
    copy(tape.decoder.cell[0, :half], tape.ahead.cell[length])
    copy(tape.decoder.cell[0, half:], tape.back.cell[length])
    for t in range(length):
        clear(tape.keys[t])
        add_product(tape.keys[t], tape.outputs[t], weights.w_context, tape.rows)


@jit
def attend(tape: Tape, t: int, length: int) -> None:
    """Write the attention weights of decoder step `t`: softmax of outputs . hidden."""
    attention = tape.attention[t]
    highest = -math.inf
    for j in range(length):
        attention[j] = dot(tape.outputs[j], tape.decoder.hidden[t])
        highest = max(highest, attention[j])
    total = 0.0
    for j in range(length):
        attention[j] = math.exp(attention[j] - highest)
        total += attention[j]
    for j in range(length):
        attention[j] /= total


@jit
def predict(weights: Weights, tape: Tape, t: int) -> int:
    """Write the log-probabilities of decoder step `t`; return the most probable word."""
    log_probs = tape.log_probs[t]
    best = 0
    for word in range(log_probs.shape[0]):
        logit = dot(weights.w_out[word], tape.decoder.hidden[t + 1]) + weights.b_out[word]
        log_probs[word] = logit
        if log_probs[word] > log_probs[best]:
            best = word
    highest = log_probs[best]
    total = 0.0
    for word in range(log_probs.shape[0]):
        total += math.exp(log_probs[word] - highest)
    normaliser = highest + math.log(total)
    for word in range(log_probs.shape[0]):
        log_probs[word] -= normaliser
    return best


@jit
def decode_step(kind: Kind, weights: Weights, tape: Tape, length: int, t: int, word: int) -> int:
    """Do decoder step `t` on input `word`, given `masks[t]`; return the most probable word."""
    tape.words[t] = word
    combined = tape.decoder.inputs[t]
    copy(combined, weights.b_combine)
    embedded = tape.embedded[t]
    for unit in range(embedded.shape[0]):
        embedded[unit] = weights.dec_embedding[word, unit] * tape.masks[t, unit]
    add_product(combined, embedded, weights.w_word, tape.rows)
    attend(tape, t, length)
    for j in range(length):
        add_scaled(combined, tape.attention[t, j], tape.keys[j])
    for unit in range(combined.shape[0]):
        combined[unit] = max(combined[unit], combined.dtype.type(0))
    layer_step(kind, weights.decoder, tape.decoder, t, tape.rows)
    return predict(weights, tape, t)


@jit
def decode(
    kind: Kind,
    weights: Weights,
    tape: Tape,
    length: int,
    target: np.ndarray,
    teacher: bool,
    stop_at_end: bool,
) -> int:
    """Decode after `encode`; `masks` are set.

    Args:
        kind: Tag of the cell.
        weights: Parameters.
        tape: Work arrays.
        length: Words of the command.
        target: Action words; decoding takes at most as many steps, as later ones have no loss.
        teacher: Whether to feed the target back instead of the decoder's choice.
        stop_at_end: Whether to stop after the first step whose most probable word is EOS.

    Returns:
        Number of steps taken.
    """
    word = SOS
    for t in range(target.shape[0]):
        best = decode_step(kind, weights, tape, length, t, word)
        if stop_at_end and best == EOS:
            return t + 1
        word = target[t] if teacher else best
    return len(target)


@jit
def nll(tape: Tape, target: np.ndarray, steps: int) -> float:
    """Return the summed negative log-likelihood of `steps` steps; write `d_log_probs`."""
    loss = 0.0
    for t in range(steps):
        clear(tape.d_log_probs[t])
        tape.d_log_probs[t, target[t]] = -1
        loss -= tape.log_probs[t, target[t]]
    return loss


@jit
def attend_back(tape: Tape, t: int, length: int) -> None:
    """Add the gradients through the attention of step `t`."""
    d_combined, hidden, d_hidden = tape.d_combined[t], tape.decoder.hidden[t], tape.decoder.d_hidden
    attention, d_scores = tape.attention[t], tape.scratch
    mean = d_scores[0] - d_scores[0]
    for j in range(length):
        d_scores[j] = dot(tape.keys[j], d_combined)
        mean += attention[j] * d_scores[j]
    for j in range(length):
        score = attention[j] * (d_scores[j] - mean)
        add_scaled(tape.d_keys[j], attention[j], d_combined)
        add_scaled(tape.d_outputs[j], score, hidden)
        add_scaled(d_hidden, score, tape.outputs[j])


@jit
def logits_back(tape: Tape, t: int) -> None:
    """Compute the gradient of the logits of step `t` from that of the log-probabilities."""
    total = 0.0
    for word in range(tape.d_logits.shape[1]):
        total += tape.d_log_probs[t, word]
    for word in range(tape.d_logits.shape[1]):
        probability = math.exp(tape.log_probs[t, word])
        tape.d_logits[t, word] = tape.d_log_probs[t, word] - probability * total


@jit
def decode_back(
    kind: Kind, weights: Weights, gradients: Weights, tape: Tape, length: int, steps: int
) -> None:
    """Backward pass of `decode`, from `d_log_probs`.

    Writes the decoder's weight gradients, `d_outputs`, and (in `decoder.d_hidden` and
    `decoder.d_cell`) the gradient of the decoder's first state.
    """
    decoder, width = tape.decoder, tape.embedded.shape[1]
    for j in range(length):
        clear(tape.d_outputs[j])
        clear(tape.d_keys[j])
    clear(decoder.d_hidden)
    clear(decoder.d_cell)
    for t in range(steps - 1, -1, -1):
        logits_back(tape, t)
        for word in range(tape.d_logits.shape[1]):
            add_scaled(decoder.d_hidden, tape.d_logits[t, word], weights.w_out[word])
        layer_step_back(kind, weights.decoder, decoder, t, tape.everything)
        clear(tape.d_combined[t])
        count = active(decoder.inputs[t], tape.rows)
        add_dots(tape.d_combined[t], weights.decoder.w_in, decoder.d_in[t], tape.rows, count)
        attend_back(tape, t, length)
    layer_gradients(gradients.decoder, decoder, steps)
    outer_sum(gradients.w_out, tape.d_logits, decoder.hidden[1:], steps)
    column_sum(gradients.b_out, tape.d_logits, steps)
    outer_sum(gradients.w_word, tape.embedded, tape.d_combined, steps)
    outer_sum(gradients.w_context, tape.outputs, tape.d_keys, length)
    column_sum(gradients.b_combine, tape.d_combined, steps)
    for word in range(gradients.dec_embedding.shape[0]):
        clear(gradients.dec_embedding[word])
    for t in range(steps):
        clear(tape.scratch)
        count = active(tape.embedded[t], tape.rows)
        add_dots(tape.scratch, weights.w_word, tape.d_combined[t], tape.rows, count)
        for unit in range(width):
            d_unit = tape.scratch[unit] * tape.masks[t, unit]
            gradients.dec_embedding[tape.words[t], unit] += d_unit
    for j in range(length):
        add_dots(tape.d_outputs[j], weights.w_context, tape.d_keys[j], tape.everything, width)


@jit
def direction_back(
    kind: Kind,
    layer: Layer,
    gradient: Layer,
    tape: LayerTape,
    command: np.ndarray,
    reverse: bool,
    d_outputs: np.ndarray,
    d_embedding: np.ndarray,
    everything: np.ndarray,
) -> None:
    """Backward pass of one encoder direction, whose `d_hidden` and `d_cell` are set."""
    length, half = command.shape[0], tape.d_hidden.shape[0]
    offset = half if reverse else 0
    for t in range(length - 1, -1, -1):
        position = length - 1 - t if reverse else t
        for unit in range(half):
            tape.d_hidden[unit] += d_outputs[position, offset + unit]
        layer_step_back(kind, layer, tape, t, everything)
        add_dots(d_embedding[command[position]], layer.w_in, tape.d_in[t], everything, half)
    layer_gradients(gradient, tape, length)


@jit
def encode_back(
    kind: Kind, weights: Weights, gradients: Weights, tape: Tape, command: np.ndarray
) -> None:
    """Backward pass of `encode`, after `decode_back`. Writes the encoder's weight gradients."""
    half = tape.ahead.d_hidden.shape[0]
    copy(tape.ahead.d_hidden, tape.decoder.d_hidden[:half])
    copy(tape.back.d_hidden, tape.decoder.d_hidden[half:])
    copy(tape.ahead.d_cell, tape.decoder.d_cell[:half])
    copy(tape.back.d_cell, tape.decoder.d_cell[half:])
    d_embedding: Any = gradients.enc_embedding
    for word in range(d_embedding.shape[0]):
        clear(d_embedding[word])
    d_outputs, everything = tape.d_outputs, tape.everything
    direction_back(
        kind,
        weights.ahead,
        gradients.ahead,
        tape.ahead,
        command,
        False,
        d_outputs,
        d_embedding,
        everything,
    )
    direction_back(
        kind,
        weights.back,
        gradients.back,
        tape.back,
        command,
        True,
        d_outputs,
        d_embedding,
        everything,
    )


@jit
def fill_masks(
    tape: Tape, steps: int, seed: np.uint64, iteration: int, below: np.uint64, scale: Any
) -> None:
    """Draw the dropout masks of one iteration."""
    for t in range(steps):
        dropout_row(tape.masks[t], seed, iteration, t, below, scale)
