"""Combining the branches of an orbit, compiled: losses and their gradients; see `objective`.

Every function works on one tape per branch (see `passes`) and writes `d_log_probs` of each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.scan.kernels.layout import Tape
from experiments.scan.kernels.numerics import clear, jit
from experiments.scan.kernels.passes import EOS

LOG_PROBABILITIES, PROBABILITIES, LOGITS = range(3)


@jit
def normalise(row: np.ndarray) -> None:
    """Subtract the logarithm of the sum of exponentials."""
    highest = row[0]
    for word in range(1, row.shape[0]):
        highest = max(highest, row[word])
    total = 0.0
    for word in range(row.shape[0]):
        total += math.exp(row[word] - highest)
    for word in range(row.shape[0]):
        row[word] -= highest + math.log(total)


@jit
def combine_row(
    tapes: tuple[Tape, ...],
    table: np.ndarray,
    shares: np.ndarray,
    lengths: np.ndarray,
    t: int,
    space: int,
    row: np.ndarray,
) -> int:
    """Write the log-probabilities of the average at step `t`; return its likeliest word.

    Args:
        tapes: One per branch.
        table: Image of each word under each element, `[G, V]`.
        shares: Weights of the branches, with sum one, `[G]`.
        lengths: Number of steps of each branch, `[G]`; later steps are ignored.
        t: The step.
        space: LOG_PROBABILITIES, PROBABILITIES or LOGITS.
        row: Output, `[V]`.
    """
    clear(row)
    for g in range(table.shape[0]):
        if t < lengths[g]:
            log_probs = tapes[g].log_probs[t]
            for word in range(row.shape[0]):
                value = log_probs[table[g, word]]
                if space == PROBABILITIES:
                    value = math.exp(value)
                row[word] += shares[g] * value
    if space == PROBABILITIES:
        for word in range(row.shape[0]):
            row[word] = math.log(row[word])
    elif space == LOGITS:
        normalise(row)
    best = 0
    for word in range(row.shape[0]):
        if row[word] > row[best]:
            best = word
    return best


@jit
def share_gradient(
    tapes: tuple[Tape, ...],
    table: np.ndarray,
    shares: np.ndarray,
    lengths: np.ndarray,
    t: int,
    word: int,
    space: int,
    row: np.ndarray,
) -> None:
    """Write every branch's gradient of -log probability of `word` at step `t`.

    Args:
        tapes: One per branch; their `d_log_probs[t]` are written.
        table: As in `combine_row`.
        shares: As in `combine_row`.
        lengths: As in `combine_row`.
        t: The step.
        word: The target, in the words of the identity.
        space: As in `combine_row`.
        row: Log-probabilities whose negative log-likelihood is differentiated, `[V]`.
    """
    for g in range(table.shape[0]):
        if t < lengths[g]:
            tape = tapes[g]
            clear(tape.d_log_probs[t])
            own = table[g, word]
            if space == LOGITS:
                for other in range(row.shape[0]):
                    tape.d_log_probs[t, table[g, other]] = shares[g] * math.exp(row[other])
                tape.d_log_probs[t, own] -= shares[g]
            elif space == PROBABILITIES:
                ratio = math.exp(tape.log_probs[t, own] - row[word])
                tape.d_log_probs[t, own] = -shares[g] * ratio
            else:
                tape.d_log_probs[t, own] = -shares[g]


@jit
def average_nll(
    tapes: tuple[Tape, ...],
    table: np.ndarray,
    shares: np.ndarray,
    lengths: np.ndarray,
    target: np.ndarray,
    space: int,
    row: np.ndarray,
) -> tuple[float, int]:
    """Return the loss of the average and its number of steps; write `d_log_probs`."""
    loss, steps = 0.0, 0
    for g in range(table.shape[0]):
        steps = max(steps, lengths[g])
    steps = min(steps, target.shape[0])
    for t in range(steps):
        best = combine_row(tapes, table, shares, lengths, t, space, row)
        loss -= row[target[t]]
        share_gradient(tapes, table, shares, lengths, t, target[t], space, row)
        if best == EOS:
            return loss, t + 1
    return loss, steps


@jit
def confidence(tape: Tape, steps: int, rows: int) -> float:
    """Return the mean largest probability over `rows` rows; rows after `steps` are uniform."""
    total = 0.0
    words = tape.log_probs.shape[1]
    for t in range(steps):
        highest = tape.log_probs[t, 0]
        for word in range(1, words):
            highest = max(highest, tape.log_probs[t, word])
        total += math.exp(highest)
    mean: float = (total + (rows - steps) / words) / rows
    return mean


@jit
def select_nll(
    tapes: tuple[Tape, ...],
    table: np.ndarray,
    shares: np.ndarray,
    lengths: np.ndarray,
    target: np.ndarray,
    space: int,
    padded_rows: int,
    row: np.ndarray,
) -> tuple[float, int]:
    """Return loss and steps of the most confident branch; write `d_log_probs` of the average.

    Args:
        tapes: One per branch.
        table: As in `combine_row`.
        shares: As in `combine_row`; uniform.
        lengths: As in `combine_row`.
        target: Action words in the words of the identity.
        space: As in `combine_row`.
        padded_rows: Rows over which confidence is averaged; 0 means each branch's length.
        row: Scratch, `[V]`.
    """
    chosen, highest = 0, -math.inf
    for g in range(table.shape[0]):
        score = confidence(tapes[g], lengths[g], padded_rows if padded_rows > 0 else lengths[g])
        if score > highest:
            chosen, highest = g, score
    loss: Any = 0.0
    steps = min(lengths[chosen], target.shape[0])
    for t in range(steps):
        best = 0
        for word in range(row.shape[0]):
            row[word] = tapes[chosen].log_probs[t, table[chosen, word]]
            if row[word] > row[best]:
                best = word
        loss -= row[target[t]]
        share_gradient(tapes, table, shares, lengths, t, target[t], space, row)
        if best == EOS:
            return loss, t + 1
    return loss, steps
