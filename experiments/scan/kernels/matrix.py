"""Products of small dense matrices for the compiled trainer of the group models.

The blocks keep four rows of a weight matrix and four rows of the result in use at once, so that
every load of a weight serves four rows. Single-threaded, no BLAS: the order of every sum is fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.scan.kernels.numerics import jit
from experiments.scan.kernels.vectors import lanes, load, multiply_add, splat, store, total

# --- blocks -------------------------------------------------------------------------------


@jit
def _factors(x: np.ndarray, m: int, k: int) -> Any:
    """`x[m, k]` to `x[m, k + 3]` as vectors; zero past the end of the row."""
    last = x.shape[1] - 1
    zero = x.dtype.type(0)
    return (
        splat(x[m, k]),
        splat(x[m, k + 1] if k + 1 <= last else zero),
        splat(x[m, k + 2] if k + 2 <= last else zero),
        splat(x[m, k + 3] if k + 3 <= last else zero),
    )


@jit
def _four_rows(w: np.ndarray, k: int, j: int) -> Any:
    """Vectors at column `j` of rows `k` to `k + 3`; past the end, of the last row."""
    last = w.shape[0] - 1
    return (
        load(w, k, j),
        load(w, min(k + 1, last), j),
        load(w, min(k + 2, last), j),
        load(w, min(k + 3, last), j),
    )


@jit
def _add_row(y: np.ndarray, m: int, j: int, a: Any, w: Any) -> None:
    """Add the four products of `a` and `w` to the vector at `y[m, j]`."""
    early = multiply_add(a[1], w[1], multiply_add(a[0], w[0], load(y, m, j)))
    store(y, m, j, multiply_add(a[3], w[3], multiply_add(a[2], w[2], early)))


@jit
def _add_dots(s: Any, d: Any, w: Any) -> Any:
    """Add the products of `d` with each of four vectors to four sums."""
    return (
        multiply_add(d, w[0], s[0]),
        multiply_add(d, w[1], s[1]),
        multiply_add(d, w[2], s[2]),
        multiply_add(d, w[3], s[3]),
    )


@jit
def _add_totals(y: np.ndarray, m: int, k: int, s: Any) -> None:
    """Add the totals of four vectors to `y[m, k]` to `y[m, k + 3]`, up to the end of the row."""
    y[m, k] += total(s[0])
    if k + 1 < y.shape[1]:
        y[m, k + 1] += total(s[1])
    if k + 2 < y.shape[1]:
        y[m, k + 2] += total(s[2])
    if k + 3 < y.shape[1]:
        y[m, k + 3] += total(s[3])


# --- products -----------------------------------------------------------------------------


@jit
def add_product(y: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    """Add `x @ w` to `y`.

    Args:
        y: Result, `[M, J]`, rows contiguous; must not overlap the others.
        x: `[M, R]`, any strides: the weight gradient of a layer is `x.T @ d`.
        w: `[R, J]`, rows contiguous.
    """
    rows, inner, columns = y.shape[0], w.shape[0], y.shape[1]
    step = lanes(y)
    whole = columns - columns % step
    m = 0
    while m + 4 <= rows:
        for k in range(0, inner, 4):
            a, b = _factors(x, m, k), _factors(x, m + 1, k)
            c, d = _factors(x, m + 2, k), _factors(x, m + 3, k)
            for j in range(0, whole, step):
                four = _four_rows(w, k, j)
                _add_row(y, m, j, a, four)
                _add_row(y, m + 1, j, b, four)
                _add_row(y, m + 2, j, c, four)
                _add_row(y, m + 3, j, d, four)
        m += 4
    if m + 2 <= rows:
        for k in range(0, inner, 4):
            a, b = _factors(x, m, k), _factors(x, m + 1, k)
            for j in range(0, whole, step):
                four = _four_rows(w, k, j)
                _add_row(y, m, j, a, four)
                _add_row(y, m + 1, j, b, four)
        m += 2
    if m < rows:
        for k in range(0, inner, 4):
            a = _factors(x, m, k)
            for j in range(0, whole, step):
                _add_row(y, m, j, a, _four_rows(w, k, j))
    if whole < columns:
        _add_last_columns(y, x, w, whole)


@jit
def _add_last_columns(y: np.ndarray, x: np.ndarray, w: np.ndarray, start: int) -> None:
    """Do `add_product` for the columns of `y` that do not fill a vector."""
    for m in range(y.shape[0]):
        for k in range(w.shape[0]):
            for j in range(start, y.shape[1]):
                y[m, j] += x[m, k] * w[k, j]


@jit
def add_product_transposed(y: np.ndarray, d: np.ndarray, w: np.ndarray) -> None:
    """Add `d @ w.T` to `y`.

    Args:
        y: Result, `[M, R]`, any strides; must not overlap the others.
        d: `[M, J]`, rows contiguous.
        w: `[R, J]`, rows contiguous.
    """
    rows, outer, columns = y.shape[0], w.shape[0], w.shape[1]
    step = lanes(w)
    whole = columns - columns % step
    zero = splat(w.dtype.type(0))
    zeros = (zero, zero, zero, zero)
    m = 0
    while m + 4 <= rows:
        for k in range(0, outer, 4):
            s0, s1, s2, s3 = zeros, zeros, zeros, zeros
            for j in range(0, whole, step):
                four = _four_rows(w, k, j)
                s0 = _add_dots(s0, load(d, m, j), four)
                s1 = _add_dots(s1, load(d, m + 1, j), four)
                s2 = _add_dots(s2, load(d, m + 2, j), four)
                s3 = _add_dots(s3, load(d, m + 3, j), four)
            _add_totals(y, m, k, s0)
            _add_totals(y, m + 1, k, s1)
            _add_totals(y, m + 2, k, s2)
            _add_totals(y, m + 3, k, s3)
        m += 4
    if m + 2 <= rows:
        for k in range(0, outer, 4):
            s0, s1 = zeros, zeros
            for j in range(0, whole, step):
                four = _four_rows(w, k, j)
                s0 = _add_dots(s0, load(d, m, j), four)
                s1 = _add_dots(s1, load(d, m + 1, j), four)
            _add_totals(y, m, k, s0)
            _add_totals(y, m + 1, k, s1)
        m += 2
    if m < rows:
        for k in range(0, outer, 4):
            s0 = zeros
            for j in range(0, whole, step):
                s0 = _add_dots(s0, load(d, m, j), _four_rows(w, k, j))
            _add_totals(y, m, k, s0)
    if whole < columns:
        _add_last_dots(y, d, w, whole)


@jit
def _add_last_dots(y: np.ndarray, d: np.ndarray, w: np.ndarray, start: int) -> None:
    """Do `add_product_transposed` for the columns of `w` that do not fill a vector."""
    for m in range(y.shape[0]):
        for k in range(w.shape[0]):
            for j in range(start, w.shape[1]):
                y[m, k] += d[m, j] * w[k, j]


@jit
def clear_rows(y: np.ndarray) -> None:
    """Set a matrix to zero."""
    for m in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[m, j] = 0


@jit
def outer_sum(out: np.ndarray, x: np.ndarray, d: np.ndarray) -> None:
    """Write `x.T @ d`, the sum over t of outer(x[t], d[t]), to `out`."""
    clear_rows(out)
    add_product(out, x.T, d)
