"""Groups: every constructor gives a group, and every violated axiom is caught."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equitune.groups import (
    MAX_ORDER,
    FiniteGroup,
    cyclic,
    dihedral,
    permutation_group,
    product,
    symmetric,
    trivial,
)

EXAMPLES = [
    (trivial(), 1),
    (cyclic(1), 1),
    (cyclic(5), 5),
    (dihedral(1), 2),
    (dihedral(2), 4),
    (dihedral(5), 10),
    (symmetric(1), 1),
    (symmetric(4), 24),
    (product(), 1),
    (product(cyclic(2), dihedral(3), cyclic(2)), 24),
    (permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)]), 12),
]

# A Latin square with identity 0 in which everything is its own inverse: a loop, but no group.
LOOP = [
    [0, 1, 2, 3, 4],
    [1, 0, 3, 4, 2],
    [2, 4, 0, 1, 3],
    [3, 2, 4, 0, 1],
    [4, 3, 1, 2, 0],
]


@pytest.mark.parametrize(("group", "order"), EXAMPLES, ids=lambda value: str(value))
def test_constructors_satisfy_the_axioms(group: FiniteGroup, order: int) -> None:
    table = group.table.tolist()
    assert group.order == order == len(table) == len(group.elements)
    for g, h, k in itertools.product(group.elements, repeat=3):
        assert table[table[g][h]][k] == table[g][table[h][k]]
    for g in group.elements:
        assert table[group.identity][g] == g == table[g][group.identity]
        assert table[g][group.inverse(g)] == group.identity == table[group.inverse(g)][g]
    assert torch.equal(group.inverses, torch.tensor([group.inverse(g) for g in group.elements]))


@pytest.mark.parametrize(("group", "order"), EXAMPLES, ids=lambda value: str(value))
def test_generators_reach_every_element(group: FiniteGroup, order: int) -> None:
    reached = {group.identity}
    while True:
        grown = reached | {group.multiply(g, h) for g in reached for h in group.generators}
        if grown == reached:
            break
        reached = grown
    assert len(reached) == order
    assert len(group.generators) <= math.log2(order)


def test_cyclic_elements_are_powers() -> None:
    group = cyclic(5)
    assert group.multiply(3, 4) == 2
    assert group.inverse(2) == 3


def test_dihedral_order_of_elements() -> None:
    group = dihedral(5)
    r, s = 1, 5
    power = group.identity
    for k in range(5):
        assert power == k
        assert group.multiply(power, s) == 5 + k
        power = group.multiply(power, r)
    assert group.multiply(group.multiply(s, r), s) == group.inverse(r)
    assert group.multiply(r, s) != group.multiply(s, r)


@pytest.mark.parametrize(
    "group", [symmetric(4), permutation_group([(1, 2, 3, 0), (1, 0, 2, 3)])], ids=repr
)
def test_permutations_compose_right_to_left(group: FiniteGroup) -> None:
    assert group.order == 24
    perms = group.permutations
    assert perms is not None
    assert len({tuple(p) for p in perms.tolist()}) == 24
    for g, h in itertools.product(group.elements, repeat=2):
        for i in range(4):
            assert perms[group.multiply(g, h)][i] == perms[g][perms[h][i]]


def test_symmetric_is_lexicographic_and_permutation_group_breadth_first() -> None:
    perms = symmetric(3).permutations
    assert perms is not None
    assert [tuple(p) for p in perms.tolist()] == list(itertools.permutations(range(3)))
    grown = permutation_group([(1, 2, 0), (1, 0, 2)]).permutations
    assert grown is not None
    assert grown[:3].tolist() == [[0, 1, 2], [1, 2, 0], [1, 0, 2]]


def test_product_is_mixed_radix() -> None:
    first, second, third = cyclic(2), dihedral(3), cyclic(4)
    group = product(first, second, third)

    def index(a: int, b: int, c: int) -> int:
        return (a * 6 + b) * 4 + c

    assert group.multiply(index(1, 1, 2), index(0, 3, 3)) == index(1, second.multiply(1, 3), 1)
    assert group.inverse(index(1, 1, 1)) == index(1, 2, 3)


def test_identity_need_not_be_first() -> None:
    group = FiniteGroup([[1, 0], [0, 1]])
    assert group.identity == 1
    assert group.generators == (0,)


def test_equality_ignores_names() -> None:
    assert cyclic(3) == FiniteGroup(cyclic(3).table, "other")
    assert hash(cyclic(3)) == hash(FiniteGroup(cyclic(3).table, "other"))
    assert cyclic(4) != product(cyclic(2), cyclic(2))
    assert cyclic(2) != "cyclic(2)"


def test_table_is_a_copy() -> None:
    table = torch.tensor([[0, 1], [1, 0]])
    group = FiniteGroup(table)
    table[0, 0] = 1
    assert group.multiply(0, 0) == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1]], r"not square: shape \(1, 2\)"),
        ([[0, 1], [1]], "not square: its rows differ in length"),
        (torch.zeros(0, 0, dtype=torch.long), "not square"),
        ([[0, 1], [1, 2]], r"not closed: entry \[1, 1\] = 2 is outside 0..1"),
        ([[0, 1], [1, -1]], r"not closed: entry \[1, 1\] = -1"),
        ([[0, 0], [1, 1]], "no identity"),
        ([[0, 0], [0, 1]], "no inverse: element 0"),
        (LOOP, r"not associative: \(xa\)y differs from x\(ay\) for x=\d, a=\d, y=\d"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_violated_axioms_are_named(table: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        FiniteGroup(table)
    assert "\n" not in str(error.value)


def test_loop_is_caught_by_associativity_alone() -> None:
    rows = torch.tensor(LOOP)
    expected = torch.arange(5).expand(5, 5)
    assert torch.equal(rows.sort(dim=0).values, expected.T)
    assert torch.equal(rows.sort(dim=1).values, expected)
    assert all(LOOP[g][g] == 0 and LOOP[0][g] == g == LOOP[g][0] for g in range(5))


def test_associativity_is_checked_beyond_the_first_generator() -> None:
    """In the loop times cyclic(2), element 1 belongs to the factor that does associate."""
    rows, two = torch.tensor(LOOP), cyclic(2).table
    table = (2 * rows[:, None, :, None] + two[None, :, None, :]).reshape(10, 10)
    assert torch.equal(table[table[:, 1]], table[:, table[1]])
    with pytest.raises(ValueError, match=r"not associative.* a=2"):
        FiniteGroup(table)


def test_float_table_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must hold integers, got torch\.float32"):
        FiniteGroup(torch.zeros(1, 1))


@given(
    group=st.sampled_from([group for group, order in EXAMPLES if order > 1]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_one_wrong_entry_is_always_caught(group: FiniteGroup, data: st.DataObject) -> None:
    element = st.integers(0, group.order - 1)
    g, h, wrong = data.draw(element), data.draw(element), data.draw(element)
    table = group.table.clone()
    if wrong == table[g, h]:
        wrong = (wrong + 1) % group.order
    table[g, h] = wrong
    with pytest.raises(ValueError, match=r"no identity|no inverse|not associative"):
        FiniteGroup(table)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cyclic(0), r"cyclic\(0\) does not exist: choose n >= 1"),
        (lambda: dihedral(-1), r"dihedral\(-1\) does not exist"),
        (lambda: symmetric(0), r"symmetric\(0\) does not exist"),
        (lambda: symmetric(8), rf"symmetric\(8\) has more than {MAX_ORDER} .* n in 1..7"),
        (lambda: permutation_group([]), "at least one permutation, got none"),
        (lambda: permutation_group([(0, 0)]), r"\(0, 0\) is not a permutation of 0..1"),
        (lambda: permutation_group([(0, 1), (0,)]), r"\(0,\) is not a permutation of 0..1"),
        (
            lambda: permutation_group([(1, 2, 3, 4, 5, 6, 7, 0), (1, 0, *range(2, 8))]),
            f"generate more than {MAX_ORDER}",
        ),
        (lambda: cyclic(3).multiply(0, 3), r"element 3 is not in cyclic\(3\): choose from 0..2"),
        (lambda: cyclic(3).inverse(-1), "element -1 is not in"),
    ],
)
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_symmetric_6_has_order_720() -> None:
    group = symmetric(6)
    assert group.order == 720
