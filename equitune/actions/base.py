"""The interface of a left group action, the invariant action, and the homomorphism check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from equitune.groups import FiniteGroup, check_group
from equitune.kinds import check_kind, check_tensor, check_whole


class Action(nn.Module, ABC):
    """A left action of a finite group on batched tensors: g(hx) = (gh)x.

    Orbits are group-major, [group, batch, ...]. A subclass must define `act`; it may replace
    `orbit` and `undo` by something faster. Its tables belong in `register_table`.

    Attributes:
        group: The group that acts.
        exact: Whether g(hx) = (gh)x holds up to rounding, as Theorem 1 needs. Where it does not,
            `action_error` tells how far off it is.
    """

    exact: ClassVar[bool] = True

    def __init__(self, group: FiniteGroup) -> None:
        """Keep the group.

        Raises:
            TypeError: If it is no group.
        """
        super().__init__()
        check_group(group)
        self.group = group
        self._tables: dict[str, Tensor] = {}
        # Plain integers: a compiled graph cannot index by a tensor's value.
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

    def register_table(self, name: str, table: Tensor) -> None:
        """Store a tensor of constants as the attribute `name`.

        It is a buffer that follows `.to(device)` and stays out of state dicts. Unlike other buffers
        it keeps its dtype and its values: through `to_empty`, and where transformers loads a model
        and gives each such buffer new memory. It begins on the default device, or on the CPU where
        that is "meta".

        Args:
            name: Name of the attribute.
            table: The constants, any shape and dtype.

        Raises:
            ValueError: If the table holds no values, because it was made on the device "meta".
        """
        check_values(table, name)
        place = torch.get_default_device() if table.device.type == "cpu" else table.device
        place = torch.device("cpu") if place.type == "meta" else place
        self._tables[name] = table.detach().to("cpu", copy=True)
        self.register_buffer(name, self._tables[name].to(place), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Action:
        """Follow a module to another device, with the tables as they were given."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in self._tables:
            setattr(self, name, getattr(self, name))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a table only takes the device of the new value."""
        table = self.__dict__.get("_tables", {}).get(name)
        super().__setattr__(name, value if table is None else table.to(value.device))

    def _check_views(self, y: Tensor) -> None:
        if y.ndim < 2 or y.shape[0] != self.group.order:
            raise ValueError(
                f"undo expects [{self.group.order}, batch, ...] for {self.group.name}, "
                f"got shape {tuple(y.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the group's name, and whether the action is approximate."""
        return self.group.name if self.exact else f"{self.group.name}, approximate"


class Invariant(Action):
    """The action that changes nothing, for outputs such as class logits."""

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


@torch.no_grad()
def action_error(action: Action, x: Shaped[Tensor, "batch ..."]) -> float:
    """Return how far an action is from g(hx) = (gh)x on a batch.

    Args:
        action: The action; at most rounding is expected if `action.exact`.
        x: A batch that it acts on, [B, ...], not all zero.

    Returns:
        max over g and h of |g(hx) - (gh)x| / |x|, with |.| the Euclidean norm of the whole batch.

    Raises:
        TypeError: If action is no action.
    """
    check_kind("action", action, Action, "an Action, as Rot90() is")
    orbit = action.orbit(x)
    flat = orbit.flatten(0, 1)
    errors = [
        (action.act(g, flat).view(orbit.shape) - orbit[action.group.table[g]]).double()
        for g in action.group.elements
    ]
    largest = max(float(error.flatten(1).norm(dim=1).max()) for error in errors)
    return largest / float(x.double().norm())


def check_dim(dim: int) -> None:
    """Raise ValueError unless dim, a whole number, counts from the end.

    Orbits have one leading dim more than inputs, so only negative numbers name the same dim in
    both.
    """
    check_whole("dim", dim)
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


def check_values(table: Tensor, what: str) -> None:
    """Raise TypeError for what is no tensor, and ValueError for one without values."""
    check_tensor(what, table)
    if table.is_meta:
        raise ValueError(
            f'{what} must hold values, but was made on the device "meta": give device="cpu" to the '
            "function that makes it"
        )


def check_rows(group: FiniteGroup, table: Tensor, ndim: int, what: str) -> None:
    """Raise ValueError unless the table has values, ndim dims and one entry per group element."""
    check_values(table, what)
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
