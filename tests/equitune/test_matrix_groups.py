"""Groups of matrices: the matrices multiply as the table says, and what is no group is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equitune.groups import FiniteGroup, cyclic, dihedral, symmetric
from equitune.matrix_groups import icosahedral, matrix_group, octahedral, rotations

ROUNDING = 1e-14


def matrices(group: FiniteGroup) -> Tensor:
    assert group.matrices is not None
    return group.matrices


def error(group: FiniteGroup) -> float:
    """Largest deviation of the matrices' products from the table."""
    elements = matrices(group)
    return float((elements[:, None] @ elements - elements[group.table]).abs().max())


def skewness(group: FiniteGroup) -> float:
    """Largest deviation from orthogonal matrices."""
    elements = matrices(group)
    return float((elements @ elements.mT - torch.eye(elements.shape[1])).abs().max())


def orders(group: FiniteGroup) -> dict[int, int]:
    """Number of elements of each order."""
    counts: dict[int, int] = {}
    for g in group.elements:
        power, order = g, 1
        while power != group.identity:
            power, order = group.multiply(power, g), order + 1
        counts[order] = counts.get(order, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (octahedral(), {1: 1, 2: 9, 3: 8, 4: 6}),
        (octahedral(reflections=True), {1: 1, 2: 19, 3: 8, 4: 12, 6: 8}),
        (icosahedral(), {1: 1, 2: 15, 3: 20, 5: 24}),
        (icosahedral(reflections=True), {1: 1, 2: 31, 3: 20, 5: 24, 6: 20, 10: 24}),
        (rotations(5, (1.0, 2.0, 3.0)), {1: 1, 5: 4}),
    ],
    ids=str,
)
def test_symmetries_of_solids(group: FiniteGroup, expected: dict[int, int]) -> None:
    elements = matrices(group)
    assert orders(group) == expected
    assert elements.dtype == torch.float64
    assert error(group) < ROUNDING and skewness(group) < ROUNDING
    turns = int((torch.linalg.det(elements) > 0).sum())
    assert turns == (group.order // 2 if "reflections" in group.name else group.order)


@pytest.mark.parametrize("reflections", [False, True])
def test_solids_are_kept(reflections: bool) -> None:
    r = (1 + 5**0.5) / 2
    corner = [[0, a, b * r] for a in (1, -1) for b in (1, -1)]
    twelve = torch.tensor([c[k:] + c[:k] for c in corner for k in range(3)], dtype=torch.float64)
    six = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    for group, points in ((icosahedral(reflections), twelve), (octahedral(reflections), six)):
        moved = points @ matrices(group).mT
        assert float(torch.cdist(moved, points[None]).amin(dim=2).max()) < 1e-7
    assert set(matrices(octahedral(reflections)).flatten().tolist()) == {-1.0, 0.0, 1.0}


def test_rotations_turn_counter_clockwise() -> None:
    plane, space = rotations(4), rotations(4, (0.0, 0.0, 5.0))
    assert plane == space == cyclic(4)
    assert matrices(plane)[1].tolist() == [[0, -1], [1, 0]]
    assert matrices(space)[1].tolist() == [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    axis = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    elements = matrices(rotations(7, axis.tolist()))
    assert (elements @ axis - axis).abs().max() < ROUNDING
    traces = 1 + 2 * torch.cos(2 * math.pi / 7 * torch.arange(7))
    assert (elements.diagonal(dim1=1, dim2=2).sum(dim=1) - traces).abs().max() < 1e-6


def test_the_unit_comes_first_then_products_by_length() -> None:
    turn, mirror = [[0.0, -1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]
    group = matrix_group([turn, mirror])
    assert group.identity == 0
    assert orders(group) == orders(dihedral(4))
    expected = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], turn, mirror], dtype=torch.float64)
    assert torch.equal(matrices(group)[:3], expected)
    assert not (matrices(group) == 0).logical_and(matrices(group).signbit()).any()


def test_whole_numbers_and_one_by_one_matrices() -> None:
    assert matrix_group(torch.tensor([[[0, 1], [1, 0]]])).order == 2
    assert matrix_group([[[-1.0]]]) == cyclic(2)
    assert matrix_group([[[1.0]]]).order == 1


@given(
    group=st.sampled_from(
        [octahedral(), icosahedral(), rotations(9, (1.0, 1.0, 2.0)), rotations(100), rotations(12)]
    ),
    seed=st.integers(0, 2**16),
    skew=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=20, deadline=None)
def test_single_precision_becomes_exact(group: FiniteGroup, seed: int, skew: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = matrices(group).shape[1]
    noise = torch.randn(n, n, generator=generator, dtype=torch.float64)
    basis = torch.eye(n, dtype=torch.float64) + skew * noise / n
    given_ = basis @ matrices(group)[list(group.generators)] @ torch.linalg.inv(basis)
    grown = matrix_group(given_.float())
    assert orders(grown) == orders(group)
    scale = float(matrices(grown).abs().max()) ** 2
    assert error(grown) < 10 * ROUNDING * scale
    assert skew > 0 or skewness(grown) < ROUNDING
    # Breadth first, so the generators, if they differ, come next to the unit.
    assert (matrices(grown)[1 : 1 + len(given_)] - given_).abs().max() < 1e-6 * scale


def test_permutation_matrices_give_the_permutation_group() -> None:
    group = symmetric(4)
    assert group.permutations is not None
    moves = torch.eye(4)[group.permutations].mT
    assert orders(matrix_group(moves[[1, 9]])) == orders(group)
    assert torch.equal(matrices(matrix_group(moves)).sum(dim=1), torch.ones(24, 4).double())


def turn(angle: float) -> list[list[float]]:
    return [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]


@pytest.mark.parametrize("n", [360, 400])
def test_turns_by_small_angles_in_single_precision(n: int) -> None:
    assert matrix_group(torch.tensor([turn(2 * math.pi / n)])).order == n


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: matrix_group([]), ValueError, r"square matrices \[k, n, n\], got shape \(0,\)"),
        (lambda: matrix_group(torch.eye(2)), ValueError, r"\[k, n, n\], got shape \(2, 2\)"),
        (lambda: matrix_group(torch.ones(1, 2, 3)), ValueError, r"got shape \(1, 2, 3\)"),
        (lambda: matrix_group([[[math.nan]]]), ValueError, "must be finite"),
        (lambda: matrix_group(torch.ones(1, 1, 1) * 1j), TypeError, "real, got torch.complex64"),
        (lambda: matrix_group([[[1.0, 1.0], [0.0, 1.0]]]), ValueError, "more than max_order=5040"),
        (lambda: matrix_group([turn(0.5)], max_order=9), ValueError, "more than max_order=9"),
        (lambda: matrix_group([[[2.0]]]), ValueError, "matrix 0 has an eigenvalue of size 2, so"),
        (lambda: matrix_group([[[1.0]], [[0.0]]]), ValueError, "matrix 1 has .* of size 0, so no"),
        (
            lambda: matrix_group([turn(math.pi / 3.00001)]),
            ValueError,
            "no finite group, .* matrix 0 is 3e-06 off .*of order 6.* digits",
        ),
        # 1 radian is nearly 113 / 710 of a circle.
        (lambda: matrix_group([turn(1.0)]), ValueError, "is 7e-08 off .*of order 710.* digits"),
        (lambda: matrix_group(torch.tensor([turn(1.0)])), ValueError, "of order 710.* digits"),
        (lambda: rotations(0), ValueError, r"cyclic\(0\) does not exist"),
        (lambda: rotations(3, (0, 0, 0)), ValueError, "three finite numbers that are not all zero"),
        (lambda: rotations(3, (1, 2)), ValueError, r"axis=\(1, 2\) must be three"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_finite_group_is_refused(
    call: object, kind: type[Exception], message: str
) -> None:
    assert callable(call)
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
