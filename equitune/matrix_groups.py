"""Finite groups of matrices: turns about an axis, the symmetries of solids, and any finite set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int, Shaped
from torch import Tensor

from equitune.groups import MAX_ORDER, FiniteGroup, cyclic, fill_table
from equitune.kinds import described

SAME = 1e-4
"""Products this close, relative to their largest entry, are one element."""

TOLERANCE = 1e-6
"""Largest relative deviation of a given matrix from the group that was found."""

CHANCE = 0.01
"""Largest such deviation times the square of the group's order.

Within a distance d of any turn is, of all turns by a fraction p / n of a circle with n up to N, one
with a chance of about d N^2 / 10. So no such fraction is found by chance, as 1 radian is 113 / 710
within 1e-7; yet single precision is enough for turns by one degree.
"""

WHOLE = 1e-14
"""Entries this close to a whole number are that number."""

_GOLDEN = (1 + math.sqrt(5)) / 2
_NEXT_AXIS = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def matrix_group(
    matrices: Shaped[Tensor, "generators n n"] | Sequence[Sequence[Sequence[float]]],
    max_order: int = MAX_ORDER,
    name: str = "matrix_group",
) -> FiniteGroup:
    """Return the group of all products of the given matrices.

    The given matrices may be rounded to single precision, if the group has up to some 400 elements;
    for larger groups give float64. Those of the group satisfy the
    multiplication table to the rounding of float64, and are orthogonal if the given ones are.

    Args:
        matrices: At least one real square matrix; none needs to be orthogonal, [k, n, n].
        max_order: Largest number of elements to look for. Default `MAX_ORDER`.
        name: Name used in messages. Default "matrix_group".

    Returns:
        The group with `matrices`, float64, [order, n, n]. The unit comes first, then products by
        length (breadth first), in the order of the given matrices.

    Raises:
        TypeError: If the matrices are complex, or no numbers.
        ValueError: If there is no matrix, they are not square or not finite, or they generate no
            finite group of at most `max_order` elements.
    """
    moves = _as_matrices(matrices)
    elements, moved = _close(moves, max_order)
    table = fill_table(moved, identity=0)
    elements = _whole(_orthogonal(_refine(elements, table)))
    for k, (move, row) in enumerate(zip(moves, moved, strict=True)):
        error = float((elements[row[0]] - move).abs().max())
        if error > min(TOLERANCE, CHANCE / len(elements) ** 2) * _size(move):
            raise ValueError(
                f"the matrices generate no finite group, or are rounded: matrix {k} is "
                f"{error:.1g} off the nearest group (of order {len(elements)}); give its entries "
                "with more digits"
            )
    return FiniteGroup(table, name, matrices=elements)


def rotations(n: int, axis: Sequence[float] | None = None) -> FiniteGroup:
    """Return cyclic(n) with its turns as matrices; element k turns by k * 360 / n degrees.

    Args:
        n: Number of turns.
        axis: A vector of any length in space, about which turns are counter-clockwise when it
            points at the viewer. Default None: turns of the plane, from x to y.

    Returns:
        The group, equal to `cyclic(n)`, with `matrices` [n, 3, 3], or [n, 2, 2] in the plane.

    Raises:
        TypeError: If n is no whole number, or the axis holds no numbers.
        ValueError: If n < 1, or the axis does not have three finite entries or is zero.
    """
    group = cyclic(n)
    angle = torch.arange(n, dtype=torch.float64, device="cpu") * (2 * math.pi / n)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    if axis is None:
        generator = torch.tensor([[0, -1], [1, 0]], dtype=torch.float64, device="cpu")
        fixed = torch.zeros_like(generator)
    else:
        x, y, z = _unit(axis)
        rows = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
        generator = torch.tensor(rows, dtype=torch.float64, device="cpu")
        fixed = torch.outer(*[torch.tensor([x, y, z], dtype=torch.float64, device="cpu")] * 2)
    one = torch.eye(len(generator), dtype=torch.float64, device="cpu")
    matrices = _whole(fixed + cos * (one - fixed) + sin * generator)
    return FiniteGroup(group.table, f"rotations({n})", matrices=matrices)


def octahedral(reflections: bool = False) -> FiniteGroup:
    """Return the 24 rotations of the cube with faces across the axes, or all 48 symmetries.

    Args:
        reflections: Include the products of rotations and the inversion x -> -x. Default False.

    Returns:
        The group with `matrices` [24 or 48, 3, 3], whose entries are 0, 1 and -1.
    """
    quarter = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    return _solid([quarter, _NEXT_AXIS], reflections, "octahedral")


def icosahedral(reflections: bool = False) -> FiniteGroup:
    """Return the 60 rotations of the icosahedron (and the dodecahedron), or all 120 symmetries.

    The twelve corners of the icosahedron are (0, 1, r) with r = (1 + 5^0.5) / 2, up to signs and
    turns of the three places.

    Args:
        reflections: Include the products of rotations and the inversion x -> -x. Default False.

    Returns:
        The group with `matrices` [60 or 120, 3, 3].
    """
    fifth = rotations(5, (0.0, 1.0, _GOLDEN)).matrices
    assert fifth is not None
    return _solid([fifth[1].tolist(), _NEXT_AXIS], reflections, "icosahedral")


def _solid(
    generators: list[Sequence[Sequence[float]]], reflections: bool, name: str
) -> FiniteGroup:
    if reflections:
        generators = [*generators, [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]]
    return matrix_group(generators, name=f"{name} with reflections" if reflections else name)


def _unit(axis: Sequence[float]) -> list[float]:
    try:
        length = math.hypot(*axis)
    except TypeError as error:
        raise TypeError(f"axis must be three numbers, as (0, 0, 1), got {axis!r}") from error
    if len(axis) != 3 or not 0 < length < math.inf:
        raise ValueError(f"axis={axis} must be three finite numbers that are not all zero")
    return [float(a) / length for a in axis]


def _as_matrices(matrices: Tensor | Sequence[Sequence[Sequence[float]]]) -> Tensor:
    # A list would be rounded to the default dtype.
    dtype = None if isinstance(matrices, Tensor) else torch.float64
    try:
        given = torch.as_tensor(matrices, dtype=dtype, device="cpu")
    except TypeError as error:
        raise TypeError(f"matrices must be numbers [k, n, n], got {described(matrices)}") from error
    if given.is_complex():
        raise TypeError(f"matrices must be real, got {given.dtype}")
    if given.ndim != 3 or given.shape[1] != given.shape[2] or given.numel() == 0:
        raise ValueError(
            f"matrix_group expects square matrices [k, n, n], got shape {tuple(given.shape)}"
        )
    moves = given.detach().to(torch.float64)
    if not bool(moves.isfinite().all()):
        raise ValueError("matrices must be finite")
    for k, move in enumerate(moves):
        sizes = torch.linalg.eigvals(move).abs()
        worst = float(sizes[(sizes - 1).abs().argmax()])
        if abs(worst - 1) > SAME:
            raise ValueError(
                f"the matrices generate no finite group: matrix {k} has an eigenvalue of size "
                f"{worst:.6g}, so no power of it is the unit"
            )
    return moves


def _close(moves: Tensor, max_order: int) -> tuple[Tensor, list[Int[Tensor, " order"]]]:
    """Return all products, and for each generator the index of generator times element."""
    known = torch.empty((max_order, *moves.shape[1:]), dtype=torch.float64, device="cpu")
    known[0] = torch.eye(moves.shape[1], dtype=torch.float64, device="cpu")
    count, k = 1, 0
    moved: list[list[int]] = [[] for _ in moves]
    while k < count:
        for move, row in zip(moves, moved, strict=True):
            candidate = move @ known[k]
            distance = (known[:count] - candidate).abs().amax(dim=(1, 2))
            nearest = int(distance.argmin())
            if not float(distance[nearest]) <= SAME * _size(candidate):
                if count == max_order:
                    raise ValueError(
                        f"the matrices generate more than max_order={max_order} elements, or "
                        "infinitely many"
                    )
                nearest = count
                known[count] = candidate
                count += 1
            row.append(nearest)
        k += 1
    return known[:count], [torch.tensor(row, device="cpu") for row in moved]


def _refine(
    elements: Float64[Tensor, "order n n"], table: Int[Tensor, "order order"]
) -> Float64[Tensor, "order n n"]:
    """Replace the matrix of g by the mean over h of the matrix of gh times the inverse of h's.

    Where matrices satisfy the table with an error e, the means satisfy it with an error of the
    order of e^2.
    """
    for _ in range(2):
        inverses = torch.linalg.inv(elements)
        elements = torch.stack([(elements[row] @ inverses).mean(dim=0) for row in table])
    return elements


def _orthogonal(elements: Float64[Tensor, "order n n"]) -> Float64[Tensor, "order n n"]:
    """In matrices that are orthogonal up to rounding, remove that rounding.

    The mean of M^T M is an inner product that the whole group keeps; in an orthonormal basis of it
    all matrices are orthogonal, and they still satisfy the same table.
    """
    kept = (elements.mT @ elements).mean(dim=0)
    sizes, vectors = torch.linalg.eigh(kept)
    if float((sizes - 1).abs().max()) > TOLERANCE:
        return elements
    basis = vectors * sizes.sqrt() @ vectors.mT
    turned: Tensor = basis @ elements @ torch.linalg.inv(basis)
    return turned


def _whole(matrices: Tensor) -> Tensor:
    """Remove rounding from entries that are whole numbers, the sign of zero included."""
    rounded = matrices.round()
    return torch.where((matrices - rounded).abs() < WHOLE, rounded, matrices) + 0.0


def _size(matrix: Tensor) -> float:
    return max(1.0, float(matrix.abs().max()))
