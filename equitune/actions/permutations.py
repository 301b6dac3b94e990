"""Actions by permutation: of positions along a dim, and of integer labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from equitune.actions.base import (
    Action,
    check_dim,
    check_homomorphism,
    check_rows,
    check_size,
)
from equitune.groups import FiniteGroup
from equitune.kinds import check_tensor, check_whole


class PermuteAxis(Action):
    """Moves coordinate i of one dim to position perm_g[i]: (g y)[perm_g[i]] = y[i].

    Used on vocabulary logits, action words and Q-values.
    """

    forward_table: Tensor
    inverse_table: Tensor
    moved: Tensor
    moved_forward: Tensor
    moved_inverse: Tensor

    def __init__(
        self, group: FiniteGroup, permutations: Shaped[Tensor, "group n"], dim: int = -1
    ) -> None:
        """Check the permutations and keep them.

        Args:
            group: The group that acts.
            permutations: `permutations[g, i]` is where coordinate i goes, integers, [G, n].
            dim: The permuted dim, negative, default -1.

        Raises:
            TypeError: If the table does not hold integers.
            ValueError: If a row is not a permutation, the rows do not multiply like the group, or
                dim is not negative.
        """
        super().__init__(group)
        check_dim(dim)
        self.dim = dim
        table = _as_permutations(group, permutations)
        self.register_table("forward_table", table)
        self.register_table("inverse_table", table[group.inverses])
        # Of a vocabulary a few words are moved: only their columns need to be read anew.
        with torch.device("cpu"):
            moved = (table != torch.arange(table.shape[1])).any(dim=0).nonzero().flatten()
            places = torch.zeros(table.shape[1], dtype=torch.long)
            places[moved] = torch.arange(len(moved))
        self.register_table("moved", moved)
        self.register_table("moved_forward", places[table[:, moved]])
        self.register_table("moved_inverse", places[table[group.inverses][:, moved]])

    @property
    def size(self) -> int:
        """Number of coordinates n."""
        return int(self.forward_table.shape[1])

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x, same shape as x [B, ..., n, ...].

        Raises:
            ValueError: If g is not an element or x has not size n along dim.
        """
        self.group.check_element(g)
        check_size(x, 1, self.dim, self.size, "PermuteAxis")
        # Position j of g x reads the coordinate that g moved there, g^-1 j.
        return x.index_select(self.dim, self.inverse_table[g])

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g x, [G, B, ...].

        Raises:
            ValueError: If x has not size n along dim.
        """
        check_size(x, 1, self.dim, self.size, "PermuteAxis")
        views = x.unsqueeze(0).expand(self.group.order, *x.shape)
        return self._gather(views, self.inverse_table, self.moved_inverse)

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g], [G, B, ...].

        Raises:
            ValueError: If y has not one entry per element or not size n along dim.
        """
        self._check_views(y)
        check_size(y, 2, self.dim, self.size, "PermuteAxis")
        return self._gather(y, self.forward_table, self.moved_forward)

    def _gather(self, views: Tensor, table: Tensor, moved_table: Tensor) -> Tensor:
        if 2 * len(self.moved) > self.size:
            return _gather(views, table, self.dim)
        columns = _gather(views.index_select(self.dim, self.moved), moved_table, self.dim)
        return views.index_copy(self.dim, self.moved, columns)


def _gather(views: Tensor, table: Tensor, dim: int) -> Tensor:
    """Read every view [G, B, ...] along a dim by its row of a table [G, n]."""
    shape = [1] * views.ndim
    shape[0], shape[dim] = table.shape
    return views.gather(dim, table.view(shape).expand_as(views))


class Relabel(Action):
    """Replaces integer value v by perm_g[v], in a tensor of any shape: token ids, class labels.

    Values must lie in 0 .. n - 1; others are an error of PyTorch's indexing.
    """

    forward_table: Tensor
    inverse_table: Tensor

    def __init__(self, group: FiniteGroup, permutations: Shaped[Tensor, "group n"]) -> None:
        """Check the permutations and keep them.

        Args:
            group: The group that acts.
            permutations: `permutations[g, v]` is what label v becomes, integers, [G, n].

        Raises:
            TypeError: If the table does not hold integers.
            ValueError: If a row is not a permutation or the rows do not multiply like the group.
        """
        super().__init__(group)
        table = _as_permutations(group, permutations)
        self.register_table("forward_table", table)
        self.register_table("inverse_table", table[group.inverses])

    @property
    def size(self) -> int:
        """Number of labels n."""
        return int(self.forward_table.shape[1])

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x, integers of the same shape and dtype.

        Raises:
            TypeError: If x does not hold integers.
            ValueError: If g is not an element.
        """
        self.group.check_element(g)
        _check_labels(x)
        # Not table[x]: that would let negative values count from the end.
        return self.forward_table[g].gather(0, x.long().flatten()).view(x.shape).to(x.dtype)

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g x, [G, B, ...].

        Raises:
            TypeError: If x does not hold integers.
        """
        _check_labels(x)
        labels = x.long().flatten()
        return (
            self.forward_table.index_select(1, labels).view(self.group.order, *x.shape).to(x.dtype)
        )

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g], [G, B, ...].

        Raises:
            TypeError: If y does not hold integers.
            ValueError: If y has not one entry per element.
        """
        self._check_views(y)
        _check_labels(y)
        labels = y.long().flatten(1)
        return self.inverse_table.gather(1, labels).view(y.shape).to(y.dtype)


def cycle_permutations(n: int, cycles: Sequence[Sequence[int]]) -> Int[Tensor, "order n"]:
    """Return the permutations of cyclic(d) that turn every given cycle of d labels.

    Element k moves each label k places along its cycle and leaves all other labels alone. With
    pairs this is a swap, such as jump <-> run in SCAN or man -> woman in Section C.2.

    Args:
        n: Number of labels.
        cycles: Disjoint cycles of labels, all of the same length d >= 1.

    Returns:
        The table [d, n], int64, for `Relabel` and `PermuteAxis` over `cyclic(d)`.

    Raises:
        TypeError: If n is no whole number, or cycles is one cycle.
        ValueError: If there is no cycle, lengths differ, a label is out of range or used twice.
    """
    check_whole("n, the number of labels,", n)
    if isinstance(cycles, int) or any(isinstance(cycle, int) for cycle in cycles):
        raise TypeError(f"cycles must be a list of cycles, as [[0, 1]], got {cycles!r}")
    if len(cycles) == 0 or len(cycles[0]) == 0:
        raise ValueError("cycle_permutations needs at least one cycle of at least one label")
    order = len(cycles[0])
    seen: set[int] = set()
    for cycle in cycles:
        if len(cycle) != order:
            raise ValueError(f"cycle {list(cycle)} has length {len(cycle)}, the first has {order}")
        for label in cycle:
            if not 0 <= label < n:
                raise ValueError(f"label {label} in cycle {list(cycle)} is outside 0..{n - 1}")
            if label in seen:
                raise ValueError(f"label {label} occurs twice in the cycles; they must be disjoint")
            seen.add(label)
    table = torch.arange(n, device="cpu").repeat(order, 1)
    places = torch.tensor([list(cycle) for cycle in cycles], device="cpu")
    for k in range(order):
        table[k, places] = places.roll(-k, dims=1)
    return table


def _as_permutations(group: FiniteGroup, permutations: Tensor) -> Tensor:
    check_tensor("permutations", permutations)
    if permutations.is_floating_point() or permutations.is_complex():
        raise TypeError(f"permutations must hold integers, got {permutations.dtype}")
    check_rows(group, permutations, 2, "permutations")
    table = permutations.to(device="cpu", dtype=torch.long)
    expected = torch.arange(table.shape[1], device="cpu")
    wrong = (table.sort(dim=1).values != expected).any(dim=1).nonzero()
    if len(wrong):
        raise ValueError(
            f"row {int(wrong[0])} is not a permutation of 0..{table.shape[1] - 1}: "
            "every value must occur once"
        )
    check_homomorphism(group, lambda g, row: (table[g][table] != table[row]).any(dim=1))
    return table


def _check_labels(x: Tensor) -> None:
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"Relabel acts on integers, got {x.dtype}")
