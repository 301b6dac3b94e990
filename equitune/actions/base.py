"""The interface of a left group action, the invariant action, and the homomorphism check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from equitune.groups import FiniteGroup


class Action(nn.Module, ABC):
    """A left action of a finite group on batched tensors: g(hx) = (gh)x.

    Orbits are group-major, [group, batch, ...]. A subclass must define `act`; it may replace
    `orbit` and `undo` by something faster. Tables belong in non-persistent buffers, so that they
    follow `.to(device)` and stay out of state dicts.

    Attributes:
        group: The group that acts.
    """

    def __init__(self, group: FiniteGroup) -> None:
        """Keep the group."""
        super().__init__()
        self.group = group
        # Plain integers: a compiled graph cannot index by what a tensor holds.
        self._inverses = tuple(int(g) for g in group.inverses)

    @abstractmethod
    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x for one element g and a batch x; the name `apply` is taken by nn.Module.

        Raises:
            ValueError: If g is not an element, or the shape of x does not suit the action.
        """

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return every transform of a batch: result[g] = g x (the inputs of Eq. 4).

        Args:
            x: A batch, [B, ...].

        Returns:
            The orbit, [G, B, ...].

        Raises:
            ValueError: If the shape of x does not suit the action.
        """
        return torch.stack([self.act(g, x) for g in self.group.elements])

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g] (the g^-1 of Eq. 4).

        Args:
            y: One batch for each group element, [G, B, ...].

        Returns:
            The batches carried back, [G, B, ...].

        Raises:
            ValueError: If y has not one entry per element, or its shape does not suit the action.
        """
        self._check_views(y)
        return torch.stack([self.act(h, y[g]) for g, h in enumerate(self._inverses)])

    def _check_views(self, y: Tensor) -> None:
        if y.ndim < 2 or y.shape[0] != self.group.order:
            raise ValueError(
                f"undo expects [{self.group.order}, batch, ...] for {self.group.name}, "
                f"got shape {tuple(y.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the group's name."""
        return self.group.name


class Invariant(Action):
    """The action that leaves everything as it is, for outputs such as class logits."""

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return x itself."""
        self.group.check_element(g)
        return x

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return |G| views of x that share its memory, [G, B, ...]."""
        return x.unsqueeze(0).expand(self.group.order, *x.shape)

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return y itself."""
        self._check_views(y)
        return y


def check_dim(dim: int) -> None:
    """Raise ValueError unless dim counts from the end.

    Orbits have one leading dim more than inputs, so only negative numbers name the same dim in
    both.
    """
    if dim >= 0:
        raise ValueError(f"dim={dim} must be negative, for it counts from the end: choose -1, -2")


def check_size(x: Tensor, leading: int, dim: int, size: int, what: str) -> None:
    """Raise ValueError unless dim exists behind the leading dims of x and has the given size."""
    if x.ndim - leading < -dim:
        raise ValueError(f"{what} acts on dim {dim}, which shape {tuple(x.shape)} does not have")
    if x.shape[dim] != size:
        raise ValueError(
            f"{what} expects size {size} along dim {dim}, got {x.shape[dim]} "
            f"in shape {tuple(x.shape)}"
        )


def check_rows(group: FiniteGroup, table: Tensor, ndim: int, what: str) -> None:
    """Raise ValueError unless the table has ndim dims and one entry per group element."""
    if table.ndim != ndim or table.shape[0] != group.order:
        shape = ", ".join(["n"] * (ndim - 1))
        raise ValueError(
            f"{what} expects a table of shape [{group.order}, {shape}] for {group.name}, "
            f"got {tuple(table.shape)}"
        )


def check_homomorphism(group: FiniteGroup, differs: Callable[[int, Tensor], Tensor]) -> None:
    """Raise ValueError, naming the first pair g, h where a table's g times h is not its gh.

    The identity and the generators as g, with every h, suffice: all other products follow from
    them by induction on the length of a word.

    Args:
        group: The group whose products count.
        differs: Called with g and the row `group.table[g]`; returns a bool mask over h, [order].

    Raises:
        ValueError: If a pair violates the law.
    """
    for g in (group.identity, *group.generators):
        wrong = differs(g, group.table[g]).nonzero()
        if len(wrong):
            h = int(wrong[0])
            raise ValueError(
                f"not a homomorphism of {group.name}: g={g} after h={h} "
                f"differs from gh={int(group.table[g, h])}"
            )
