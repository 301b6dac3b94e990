"""Finite groups as multiplication tables.

A group does not depend on images or tokens. It is the table `table[g, h] = index of gh`, and an
`equitune.actions.Action` says what its elements do to a tensor.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial, reduce

import torch
from jaxtyping import Float64, Int, Shaped
from torch import Tensor

from equitune.kinds import check_whole, described

MAX_ORDER = 5040
"""Largest order that the permutation constructors build; a table takes 8 * order^2 bytes."""


class FiniteGroup:
    """A finite group, given by its multiplication table and checked when it is built.

    Attributes:
        name: Short name, used in messages only.
        order: Number of elements |G|.
        table: `table[g, h]` is the index of the product gh, int64, shape [order, order].
        identity: Index of the neutral element (it need not be 0).
        inverses: `inverses[g]` is the index of g^-1, int64, shape [order].
        generators: Indices whose products give the whole group (empty for the trivial group).
        permutations: `permutations[g, i]` is where point i goes under g, int64, shape
            [order, degree]; None unless the group was built from permutations.
        matrices: `matrices[g]` is the matrix of g, float64, shape [order, n, n]; None unless the
            group was built from matrices.
    """

    def __init__(
        self,
        table: Shaped[Tensor, "order order"] | Sequence[Sequence[int]],
        name: str = "group",
        permutations: Int[Tensor, "order degree"] | None = None,
        matrices: Float64[Tensor, "order n n"] | None = None,
    ) -> None:
        """Check the group axioms and build the group.

        Args:
            table: Square table of indices; entry [g, h] is the index of gh.
            name: Name used in messages. Default "group".
            permutations: The permutation of each element, if there are any; default None.
            matrices: The matrix of each element, if there are any; default None.

        Raises:
            TypeError: If the table does not hold integers.
            ValueError: If the table is not square, an entry is out of range (closure), there is no
                identity, an element has no inverse, or the product is not associative.
        """
        self.name = name
        self.table = _as_square_table(table)
        self.order = int(self.table.shape[0])
        self.identity = _find_identity(self.table)
        self.generators = _check_associative(self.table, self.identity)
        self.inverses = _find_inverses(self.table, self.identity)
        self.permutations = permutations
        self.matrices = matrices

    @property
    def elements(self) -> range:
        """The indices 0 .. order - 1."""
        return range(self.order)

    def multiply(self, g: int, h: int) -> int:
        """Return the index of gh.

        Raises:
            ValueError: If g or h is not an element.
        """
        self.check_element(g)
        self.check_element(h)
        return int(self.table[g, h])

    def inverse(self, g: int) -> int:
        """Return the index of g^-1.

        Raises:
            ValueError: If g is not an element.
        """
        self.check_element(g)
        return int(self.inverses[g])

    def check_element(self, g: int) -> None:
        """Raise an error unless g is one of the indices 0 .. order - 1.

        Raises:
            TypeError: If it is no whole number.
            ValueError: If it is another one.
        """
        check_whole("the element g", g)
        if not 0 <= g < self.order:
            raise ValueError(f"element {g} is not in {self.name}: choose from 0..{self.order - 1}")

    def __eq__(self, other: object) -> bool:
        """Two groups are equal when their tables are; names are ignored."""
        if not isinstance(other, FiniteGroup):
            return NotImplemented
        return torch.equal(self.table, other.table)

    def __hash__(self) -> int:
        """Return a hash of quantities that are equal for equal tables."""
        return hash((self.order, self.identity, tuple(self.inverses.tolist())))

    def __repr__(self) -> str:
        """Return name and order."""
        return f"FiniteGroup({self.name!r}, order={self.order})"


def check_group(group: object) -> None:
    """Raise TypeError unless a value is a group."""
    own = getattr(group, "group", None)
    hint = ", which acts: write action.group" if isinstance(own, FiniteGroup) else ""
    if not isinstance(group, FiniteGroup):
        raise TypeError(
            f"group must be a FiniteGroup, as cyclic(4) is, got {described(group)}{hint}"
        )


def _as_square_table(table: Tensor | Sequence[Sequence[int]]) -> Tensor:
    try:
        result = torch.as_tensor(table, device="cpu")
    except NotImplementedError as error:
        raise ValueError('multiplication table must hold values: give device="cpu"') from error
    except (ValueError, TypeError) as error:
        raise ValueError("multiplication table is not square: its rows differ in length") from error
    if result.is_floating_point() or result.is_complex() or result.dtype == torch.bool:
        raise TypeError(f"multiplication table must hold integers, got {result.dtype}")
    if result.ndim != 2 or result.shape[0] != result.shape[1] or result.shape[0] == 0:
        raise ValueError(f"multiplication table is not square: shape {tuple(result.shape)}")
    result = result.to(dtype=torch.long, copy=True).contiguous()
    order = result.shape[0]
    outside = ((result < 0) | (result >= order)).nonzero()
    if len(outside):
        g, h = outside[0].tolist()
        raise ValueError(
            f"not closed: entry [{g}, {h}] = {int(result[g, h])} is outside 0..{order - 1}"
        )
    return result


def _find_identity(table: Tensor) -> int:
    elements = torch.arange(len(table), device=table.device)
    left = (table == elements).all(dim=1)
    right = (table == elements[:, None]).all(dim=0)
    found = (left & right).nonzero()
    if len(found) == 0:
        raise ValueError("no identity: no element e has eg = ge = g for every g")
    return int(found[0])


def _find_inverses(table: Tensor, identity: int) -> Tensor:
    is_identity = table == identity
    two_sided = is_identity & is_identity.T
    missing = (~two_sided.any(dim=1)).nonzero()
    if len(missing):
        raise ValueError(f"no inverse: element {int(missing[0])} has no two-sided inverse")
    return two_sided.to(torch.uint8).argmax(dim=1)


def _check_associative(table: Tensor, identity: int) -> tuple[int, ...]:
    """Light's test: (xa)y = x(ay) for every generator a is enough, and costs order^2 for each.

    The elements a that pass are closed under products, so checking a set whose products reach
    everything proves the law for all. In a group every new generator at least doubles what is
    reached, so there are at most log2(order) of them.
    """
    generators: list[int] = []
    reached = torch.zeros(len(table), dtype=torch.bool, device=table.device)
    reached[identity] = True
    while not bool(reached.all()):
        a = int((~reached).to(torch.uint8).argmax())
        wrong = table[table[:, a]] != table[:, table[a]]
        if bool(wrong.any()):
            x, y = wrong.nonzero()[0].tolist()
            raise ValueError(f"not associative: (xa)y differs from x(ay) for x={x}, a={a}, y={y}")
        generators.append(a)
        reached = _closure(table, reached, generators)
    return tuple(generators)


def _closure(table: Tensor, reached: Tensor, generators: list[int]) -> Tensor:
    """Mark every element that is a product of marked elements and generators."""
    reached = reached.clone()
    frontier = reached.nonzero().flatten()
    while len(frontier):
        products = torch.unique(table[frontier][:, generators])
        frontier = products[~reached[products]]
        reached[frontier] = True
    return reached


def trivial() -> FiniteGroup:
    """Return the group of one element."""
    return FiniteGroup([[0]], "trivial")


def cyclic(n: int) -> FiniteGroup:
    """Return the cyclic group of order n; element k is the k-th power of the generator.

    Raises:
        TypeError: If n is no whole number.
        ValueError: If n < 1.
    """
    _check_positive("cyclic", n)
    k = torch.arange(n, device="cpu")
    return FiniteGroup((k[:, None] + k) % n, f"cyclic({n})")


def dihedral(n: int) -> FiniteGroup:
    """Return the dihedral group of order 2n: turns r and a mirror s with s r s = r^-1.

    Elements are ordered r^k = k and r^k s = n + k, for k = 0 .. n - 1.

    Raises:
        TypeError: If n is no whole number.
        ValueError: If n < 1.
    """
    _check_positive("dihedral", n)
    element = torch.arange(2 * n, device="cpu")
    turn, mirrored = element % n, element // n
    # r^a s^e r^b s^f = r^(a + (-1)^e b) s^(e + f)
    direction = (1 - 2 * mirrored)[:, None]
    turns = (turn[:, None] + direction * turn) % n
    mirrors = (mirrored[:, None] + mirrored) % 2
    return FiniteGroup(turns + n * mirrors, f"dihedral({n})")


def symmetric(n: int) -> FiniteGroup:
    """Return the group of all permutations of n points, in lexicographic order.

    With p the permutation of element g, p[i] is where point i goes, and (gh)[i] = g[h[i]].

    Raises:
        TypeError: If n is no whole number.
        ValueError: If n < 1 or n! exceeds `MAX_ORDER`.
    """
    _check_positive("symmetric", n)
    if n > 7:
        raise ValueError(f"symmetric({n}) has more than {MAX_ORDER} elements: choose n in 1..7")
    points = tuple(range(n))
    swap = (1, 0, *points[2:]) if n > 1 else points
    turn = (*points[1:], 0)
    return _from_permutations(list(itertools.permutations(points)), [swap, turn], f"symmetric({n})")


def permutation_group(generators: Sequence[Sequence[int]]) -> FiniteGroup:
    """Return the group that the given permutations generate.

    Args:
        generators: At least one permutation p of 0 .. degree - 1; p[i] is where point i goes.

    Returns:
        The group with (gh)[i] = g[h[i]]. The identity comes first, then products by length
        (breadth first), in the order of the generators. `permutations` holds each element.

    Raises:
        TypeError: If it is given one permutation, not a list.
        ValueError: If there is no generator, one is not a permutation, degrees differ, or the
            group exceeds `MAX_ORDER` elements.
    """
    if isinstance(generators, int) or any(isinstance(p, int) for p in generators):
        raise TypeError(
            f"permutation_group takes a list of permutations, as [[1, 0, 2]] is, got {generators!r}"
        )
    if len(generators) == 0:
        raise ValueError("permutation_group needs at least one permutation, got none")
    moves = [tuple(int(i) for i in p) for p in generators]
    points = tuple(range(len(moves[0])))
    for move in moves:
        if tuple(sorted(move)) != points:
            raise ValueError(f"{move} is not a permutation of 0..{len(points) - 1}")
    elements = [points]
    known = {points}
    # The list grows while it is read: a breadth-first walk.
    for element in elements:
        for move in moves:
            product_ = _compose(move, element)
            if product_ not in known:
                known.add(product_)
                elements.append(product_)
        if len(elements) > MAX_ORDER:
            raise ValueError(f"the permutations generate more than {MAX_ORDER} elements")
    return _from_permutations(elements, moves, "permutation_group")


def product(*groups: FiniteGroup) -> FiniteGroup:
    """Return the direct product; `product()` is the trivial group.

    The element (g_1, ..., g_k) has the mixed-radix index (g_1 |G_2| + g_2) |G_3| + ..., so the
    last factor varies fastest.

    Raises:
        TypeError: If one is no group.
    """
    for group in groups:
        check_group(group)
    return reduce(_product_of_two, groups) if groups else trivial()


def _product_of_two(first: FiniteGroup, second: FiniteGroup) -> FiniteGroup:
    n = first.order * second.order
    left = first.table[:, None, :, None] * second.order
    table = (left + second.table[None, :, None, :]).reshape(n, n)
    return FiniteGroup(table, f"{first.name} x {second.name}")


def _compose(g: tuple[int, ...], h: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(g[i] for i in h)


def _from_permutations(
    elements: list[tuple[int, ...]], generators: list[tuple[int, ...]], name: str
) -> FiniteGroup:
    tensor = partial(torch.tensor, device="cpu")
    index = {element: k for k, element in enumerate(elements)}
    moved = [tensor([index[_compose(g, h)] for h in elements]) for g in generators]
    table = fill_table(moved, index[tuple(range(len(elements[0])))])
    return FiniteGroup(table, name, permutations=tensor(elements))


def fill_table(moved: Sequence[Int[Tensor, " order"]], identity: int) -> Int[Tensor, "order order"]:
    """Return the multiplication table that the rows of some generators determine.

    The row of gh is the row of h, moved by g on the left. So only the generators' rows cost
    look-ups of elements, and order^2 products are avoided.

    Args:
        moved: For each generator g, `moved[.][h]` is the index of gh.
        identity: Index of the neutral element.
    """
    n = len(moved[0])
    table = torch.empty((n, n), dtype=torch.long, device="cpu")
    table[identity] = torch.arange(n, device="cpu")
    filled = {identity}
    queue = [identity]
    for row in queue:
        for move in moved:
            target = int(move[row])
            if target not in filled:
                filled.add(target)
                table[target] = move[table[row]]
                queue.append(target)
    return table


def _check_positive(constructor: str, n: int) -> None:
    check_whole(f"n of {constructor}(n)", n)
    if n < 1:
        raise ValueError(f"{constructor}({n}) does not exist: choose n >= 1")
