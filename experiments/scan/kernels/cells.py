"""The pointwise part of the three recurrent cells in the compiled trainer.

A cell receives `b_in + x @ w_in` and `b_rec + h @ w_rec` separately, returns the new state; its
backward part returns the gradients of those two sums. Gates are in PyTorch's order. The class
of the tag passed as `kind` decides at compile time, so only the cell in use is compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from experiments.scan.kernels.numerics import FAST, sigmoid, specialise, tanh


class RnnCell(NamedTuple):
    """Tag of the tanh cell; gates: blocks of the two sums."""

    gates: int = 1


class GruCell(NamedTuple):
    """Tag of the gated recurrent unit; gates: reset, update, new."""

    gates: int = 3


class LstmCell(NamedTuple):
    """Tag of the LSTM; gates: input, forget, cell, output."""

    gates: int = 4


Kind = RnnCell | GruCell | LstmCell
KINDS: dict[str, Kind] = {"RNN": RnnCell(), "GRU": GruCell(), "LSTM": LstmCell()}


def cell_forward(
    kind: Kind,
    a: np.ndarray,
    b: np.ndarray,
    hidden: np.ndarray,
    cell: np.ndarray,
    gates: np.ndarray,
    extra: np.ndarray,
    new_hidden: np.ndarray,
    new_cell: np.ndarray,
) -> None:
    """Advance the state by one step.

    Args:
        kind: Tag of the cell.
        a: Input sum `b_in + x @ w_in`, `[gates * H]`.
        b: Recurrent sum `b_rec + h @ w_rec`, `[gates * H]`.
        hidden: Previous hidden state, `[H]`.
        cell: Previous cell state (LSTM only), `[H]`.
        gates: Output, activated gates, `[gates * H]`.
        extra: Output, further data for the backward step: tanh of the cell state (LSTM),
            recurrent sum of the new gate (GRU), `[H]`.
        new_hidden: Output, `[H]`.
        new_cell: Output (LSTM only), `[H]`.
    """
    raise NotImplementedError("exists only in compiled code")


def cell_backward(
    kind: Kind,
    d_hidden: np.ndarray,
    d_cell: np.ndarray,
    hidden: np.ndarray,
    cell: np.ndarray,
    gates: np.ndarray,
    extra: np.ndarray,
    d_a: np.ndarray,
    d_b: np.ndarray,
) -> None:
    """Do the backward pass of one step, without the part through `h @ w_rec`.

    Args:
        kind: Tag of the cell.
        d_hidden: In: gradient of the new hidden state; out: of the previous one, `[H]`.
        d_cell: Same for the cell state (LSTM only), `[H]`.
        hidden: Previous hidden state, `[H]`.
        cell: Previous cell state, `[H]`.
        gates: As written by `cell_forward`.
        extra: As written by `cell_forward`.
        d_a: Output, gradient of the input sum, `[gates * H]`.
        d_b: Output, gradient of the recurrent sum; the same array as `d_a` where both are
            equal (LSTM, RNN).
    """
    raise NotImplementedError("exists only in compiled code")


def _rnn_forward(
    kind: Any, a: Any, b: Any, hidden: Any, cell: Any, gates: Any, extra: Any, h: Any, c: Any
) -> None:
    for j in range(h.shape[0]):
        gates[j] = tanh(a[j] + b[j])
        h[j] = gates[j]


def _rnn_backward(
    kind: Any, dh: Any, dc: Any, hidden: Any, cell: Any, gates: Any, extra: Any, d_a: Any, d_b: Any
) -> None:
    for j in range(dh.shape[0]):
        d_a[j] = dh[j] - dh[j] * gates[j] * gates[j]
        dh[j] = 0


def _gru_forward(
    kind: Any, a: Any, b: Any, hidden: Any, cell: Any, gates: Any, extra: Any, h: Any, c: Any
) -> None:
    n = h.shape[0]
    for j in range(n):
        reset = sigmoid(a[j] + b[j])
        update = sigmoid(a[n + j] + b[n + j])
        new = tanh(a[2 * n + j] + reset * b[2 * n + j])
        gates[j], gates[n + j], gates[2 * n + j] = reset, update, new
        extra[j] = b[2 * n + j]
        h[j] = new + update * (hidden[j] - new)


def _gru_backward(
    kind: Any, dh: Any, dc: Any, hidden: Any, cell: Any, gates: Any, extra: Any, d_a: Any, d_b: Any
) -> None:
    n = dh.shape[0]
    for j in range(n):
        reset, update, new = gates[j], gates[n + j], gates[2 * n + j]
        d_update = dh[j] * (hidden[j] - new) * (update - update * update)
        d_new = dh[j] - dh[j] * update
        d_new -= d_new * new * new
        d_reset = d_new * extra[j] * (reset - reset * reset)
        d_a[j], d_a[n + j], d_a[2 * n + j] = d_reset, d_update, d_new
        d_b[j], d_b[n + j], d_b[2 * n + j] = d_reset, d_update, d_new * reset
        dh[j] *= update


def _lstm_forward(
    kind: Any, a: Any, b: Any, hidden: Any, cell: Any, gates: Any, extra: Any, h: Any, c: Any
) -> None:
    n = h.shape[0]
    for j in range(n):
        enter = sigmoid(a[j] + b[j])
        keep = sigmoid(a[n + j] + b[n + j])
        value = tanh(a[2 * n + j] + b[2 * n + j])
        show = sigmoid(a[3 * n + j] + b[3 * n + j])
        gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j] = enter, keep, value, show
        c[j] = keep * cell[j] + enter * value
        extra[j] = tanh(c[j])
        h[j] = show * extra[j]


def _lstm_backward(
    kind: Any, dh: Any, dc: Any, hidden: Any, cell: Any, gates: Any, extra: Any, d_a: Any, d_b: Any
) -> None:
    n = dh.shape[0]
    for j in range(n):
        enter, keep, value = gates[j], gates[n + j], gates[2 * n + j]
        show, squashed = gates[3 * n + j], extra[j]
        d_state = dc[j] + dh[j] * (show - show * squashed * squashed)
        d_a[j] = d_state * value * (enter - enter * enter)
        d_a[n + j] = d_state * cell[j] * (keep - keep * keep)
        d_a[2 * n + j] = d_state * (enter - enter * value * value)
        d_a[3 * n + j] = dh[j] * squashed * (show - show * show)
        dc[j] = d_state * keep
        dh[j] = 0


_FORWARD = {RnnCell: _rnn_forward, GruCell: _gru_forward, LstmCell: _lstm_forward}
_BACKWARD = {RnnCell: _rnn_backward, GruCell: _gru_backward, LstmCell: _lstm_backward}


@specialise(cast(Any, cell_forward), FAST)
def _forward_by_kind(
    kind: Any, a: Any, b: Any, hidden: Any, cell: Any, gates: Any, extra: Any, h: Any, c: Any
) -> Any:
    return _FORWARD[kind.instance_class]


@specialise(cast(Any, cell_backward), FAST)
def _backward_by_kind(
    kind: Any, dh: Any, dc: Any, hidden: Any, cell: Any, gates: Any, extra: Any, d_a: Any, d_b: Any
) -> Any:
    return _BACKWARD[kind.instance_class]
