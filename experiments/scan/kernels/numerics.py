"""Building blocks of the compiled trainer: activations, products, dropout masks.

Plain loops that LLVM turns into vector instructions. They are single-threaded by construction
(no BLAS), so a run gives the same numbers whatever OMP_NUM_THREADS is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload

from experiments.scan.nets.dropout import GOLDEN, MULTIPLY_1, MULTIPLY_2, UNIFORM_BITS

F = TypeVar("F", bound=Callable[..., Any])

# Sums may be reordered and multiply-adds fused. NaN and infinity are preserved, so that a
# diverging run is detected.
FAST = {"contract", "reassoc", "nsz", "arcp"}
EXACT_ORDER = {"contract", "nsz"}


# No entry points from Python and C: nothing calls them, and they take most of the compile time.
INNER: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def jit(function: F) -> F:
    """Compile as part of a larger kernel; callable only from compiled code."""
    return cast(F, numba.njit(fastmath=FAST, **INNER)(function))


def jit_exact_order(function: F) -> F:
    """Like `jit`, but sums stay in the order written."""
    return cast(F, numba.njit(fastmath=EXACT_ORDER, **INNER)(function))


def specialise(stub: F, fastmath: set[str]) -> Callable[[F], F]:
    """Register a choice of implementation by argument type for `stub` (`numba.overload`)."""
    options: Any = {"fastmath": fastmath, **INNER}
    return cast("Callable[[F], F]", overload(stub, jit_options=options, strict=False))


# --- sigmoid, tanh --------------------------------------------------------------------------

LOG2_E = np.float32(1.0 / math.log(2.0))
# log(2) in two parts; the first has few enough bits that its multiples by an exponent are exact.
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
TAYLOR = tuple(np.float32(1.0 / math.factorial(order)) for order in range(1, 9))
T1, T2, T3, T4, T5, T6, T7, T8 = TAYLOR
HALF, ONE, TWO = np.float32(0.5), np.float32(1.0), np.float32(2.0)
LOWEST, HIGHEST = np.float32(-86.0), np.float32(86.0)


@intrinsic
def _reinterpret(_context: Any, bits: Any) -> Any:
    """Reinterpret an int32 as float32, which numba offers for arrays only."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), build


as_float32: Any = _reinterpret  # numba supplies the first argument


@jit_exact_order
def _expm1_parts(x: np.float32) -> tuple[np.float32, np.float32]:
    """Write exp(x) as power * (1 + rest), |rest| < 0.42, both to float32 accuracy."""
    x = min(max(x, LOWEST), HIGHEST)
    exponent = np.floor(x * LOG2_E + HALF)
    r = (x - exponent * LN2_HIGH) - exponent * LN2_LOW
    series = T1 + r * (T2 + r * (T3 + r * (T4 + r * (T5 + r * (T6 + r * (T7 + r * T8))))))
    power = as_float32(np.int32((np.int32(exponent) + np.int32(127)) << np.int32(23)))
    return power, r * series


def sigmoid(x: float) -> float:
    """Logistic function of a float32 or float64 scalar, to a few units in the last place."""
    return 1.0 / (1.0 + math.exp(-x))


def tanh(x: float) -> float:
    """Hyperbolic tangent of a float32 or float64 scalar, to a few units in the last place."""
    return math.tanh(x)


@specialise(sigmoid, EXACT_ORDER)
def _sigmoid_by_type(x: Any) -> Any:
    def single(x: Any) -> Any:
        power, rest = _expm1_parts(-x)
        return ONE / ((ONE + power) + power * rest)

    def double(x: Any) -> Any:
        return 1.0 / (1.0 + math.exp(-x))

    return single if x == types.float32 else double


@specialise(tanh, EXACT_ORDER)
def _tanh_by_type(x: Any) -> Any:
    def single(x: Any) -> Any:
        # With t = exp(2x) - 1: t / (t + 2). No cancellation near zero, where power is 1.
        power, rest = _expm1_parts(TWO * x)
        t = power * rest + (power - ONE)
        return t / (t + TWO)

    def double(x: Any) -> Any:
        return math.tanh(x)

    return single if x == types.float32 else double


# --- products -----------------------------------------------------------------------------


@jit
def clear(x: np.ndarray) -> None:
    """Set a vector to zero."""
    for j in range(x.shape[0]):
        x[j] = 0


@jit
def copy(target: np.ndarray, source: np.ndarray) -> None:
    """Copy a vector. Slice assignment would have numba compile its error message, for seconds."""
    for j in range(target.shape[0]):
        target[j] = source[j]


@jit
def active(x: np.ndarray, index: np.ndarray) -> int:
    """Write the positions of nonzero entries of `x` to `index`; return their number."""
    count = 0
    for i in range(x.shape[0]):
        index[count] = i
        if x[i] != 0:
            count += 1
    return count


@jit
def add_rows(y: np.ndarray, x: np.ndarray, w: np.ndarray, index: np.ndarray, count: int) -> None:
    """Add `x @ w` to `y`, using only the `count` rows of `w` listed in `index`."""
    k = 0
    while k + 8 <= count:
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        w0, w1, w2, w3 = w[i0], w[i1], w[i2], w[i3]
        x0, x1, x2, x3 = x[i0], x[i1], x[i2], x[i3]
        i4, i5, i6, i7 = index[k + 4], index[k + 5], index[k + 6], index[k + 7]
        w4, w5, w6, w7 = w[i4], w[i5], w[i6], w[i7]
        x4, x5, x6, x7 = x[i4], x[i5], x[i6], x[i7]
        for j in range(y.shape[0]):
            early = x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
            y[j] += early + x4 * w4[j] + x5 * w5[j] + x6 * w6[j] + x7 * w7[j]
        k += 8
    while k + 4 <= count:
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        w0, w1, w2, w3 = w[i0], w[i1], w[i2], w[i3]
        x0, x1, x2, x3 = x[i0], x[i1], x[i2], x[i3]
        for j in range(y.shape[0]):
            y[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
        k += 4
    while k < count:
        w0, x0 = w[index[k]], x[index[k]]
        for j in range(y.shape[0]):
            y[j] += x0 * w0[j]
        k += 1


@jit
def add_product(y: np.ndarray, x: np.ndarray, w: np.ndarray, index: np.ndarray) -> None:
    """Add `x @ w` to `y`; `index` is scratch. Rows for zeros of `x` are not read."""
    add_rows(y, x, w, index, active(x, index))


@jit
def dot(a: np.ndarray, b: np.ndarray) -> Any:
    """Return the inner product."""
    total = a[0] * b[0]
    for j in range(1, a.shape[0]):
        total += a[j] * b[j]
    return total


@jit
def add_dots(y: np.ndarray, w: np.ndarray, d: np.ndarray, index: np.ndarray, count: int) -> None:
    """Add `w @ d` to `y`, for the `count` rows of `w` listed in `index` only."""
    k = 0
    while k + 8 <= count:
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        w0, w1, w2, w3 = w[i0], w[i1], w[i2], w[i3]
        s0, s1, s2, s3 = y[i0], y[i1], y[i2], y[i3]
        i4, i5, i6, i7 = index[k + 4], index[k + 5], index[k + 6], index[k + 7]
        w4, w5, w6, w7 = w[i4], w[i5], w[i6], w[i7]
        s4, s5, s6, s7 = y[i4], y[i5], y[i6], y[i7]
        for j in range(d.shape[0]):
            s0 += w0[j] * d[j]
            s1 += w1[j] * d[j]
            s2 += w2[j] * d[j]
            s3 += w3[j] * d[j]
            s4 += w4[j] * d[j]
            s5 += w5[j] * d[j]
            s6 += w6[j] * d[j]
            s7 += w7[j] * d[j]
        y[i0], y[i1], y[i2], y[i3] = s0, s1, s2, s3
        y[i4], y[i5], y[i6], y[i7] = s4, s5, s6, s7
        k += 8
    while k + 4 <= count:
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        w0, w1, w2, w3 = w[i0], w[i1], w[i2], w[i3]
        s0, s1, s2, s3 = y[i0], y[i1], y[i2], y[i3]
        for j in range(d.shape[0]):
            s0 += w0[j] * d[j]
            s1 += w1[j] * d[j]
            s2 += w2[j] * d[j]
            s3 += w3[j] * d[j]
        y[i0], y[i1], y[i2], y[i3] = s0, s1, s2, s3
        k += 4
    while k < count:
        y[index[k]] += dot(w[index[k]], d)
        k += 1


@jit
def add_scaled(y: np.ndarray, factor: Any, x: np.ndarray) -> None:
    """Add `factor * x` to `y`."""
    for j in range(y.shape[0]):
        y[j] += factor * x[j]


@jit
def outer_sum(out: np.ndarray, x: np.ndarray, d: np.ndarray, steps: int) -> None:
    """Write the sum over the first `steps` rows of outer(x[t], d[t]) to `out`."""
    column = np.empty(steps, x.dtype)
    index = np.empty(steps + 1, np.int64)
    for i in range(out.shape[0]):
        for t in range(steps):
            column[t] = x[t, i]
        clear(out[i])
        add_rows(out[i], column, d, index, active(column, index))


@jit
def column_sum(out: np.ndarray, d: np.ndarray, steps: int) -> None:
    """Write the sum of the first `steps` rows of `d` to `out`."""
    copy(out, d[0])
    for t in range(1, steps):
        for j in range(out.shape[0]):
            out[j] += d[t, j]


# --- dropout ------------------------------------------------------------------------------

_GOLDEN, _MULTIPLY_1, _MULTIPLY_2 = np.uint64(GOLDEN), np.uint64(MULTIPLY_1), np.uint64(MULTIPLY_2)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_CUT = np.uint64(64 - UNIFORM_BITS)


@jit
def mix(counter: np.uint64) -> np.uint64:
    """Scalar form of `dropout.mix`."""
    counter = counter + _GOLDEN
    counter = (counter ^ (counter >> _SHIFT_1)) * _MULTIPLY_1
    counter = (counter ^ (counter >> _SHIFT_2)) * _MULTIPLY_2
    return counter ^ (counter >> _SHIFT_3)


@jit
def dropout_row(
    mask: np.ndarray, seed: np.uint64, iteration: int, step: int, below: np.uint64, scale: Any
) -> None:
    """Write the mask of one decoder step: row `step` of `dropout.dropout_mask`.

    Args:
        mask: Output, `[units]`.
        seed: Seed of the run.
        iteration: Training iteration.
        step: Decoder step.
        below: `dropout.threshold` of the dropout rate.
        scale: 1 / (1 - rate), in the precision of `mask`.
    """
    row = mix(mix(mix(seed) + np.uint64(iteration)) + np.uint64(step))
    zero = scale - scale
    for unit in range(mask.shape[0]):
        kept = (mix(row + np.uint64(unit)) >> _CUT) >= below
        mask[unit] = scale if kept else zero
