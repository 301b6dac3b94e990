"""Linear representations: sign changes and matrices along one dim, and tensors of rank two."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune._autocast import without_autocast
from equitune.actions.base import (
    Action,
    check_dim,
    check_homomorphism,
    check_rows,
    check_size,
)
from equitune.groups import FiniteGroup
from equitune.kinds import check_tensor

TOLERANCE = 1e-6
"""Largest deviation from a homomorphism, relative to the size of the terms of the product."""


class Signs(Action):
    """Multiplies coordinate i of one dim by signs[g, i], +1 or -1.

    Used on control states, whose mirror image negates positions and speeds.
    """

    signs: Tensor

    def __init__(self, group: FiniteGroup, signs: Shaped[Tensor, "group n"], dim: int = -1) -> None:
        """Check the signs and keep them.

        Args:
            group: The group that acts.
            signs: Entries +1 or -1, any dtype, [G, n].
            dim: The dim acted on, negative, default -1.

        Raises:
            ValueError: If an entry is not +1 or -1, the rows do not multiply like the group, or
                dim is not negative.
        """
        super().__init__(group)
        check_dim(dim)
        self.dim = dim
        check_rows(group, signs, 2, "signs")
        wrong = signs[signs.abs() != 1]
        if len(wrong):
            raise ValueError(f"signs must be +1 or -1, got {wrong[0].item()}")
        table = signs.to(device="cpu", dtype=torch.int8)
        check_homomorphism(group, lambda g, row: (table[g] * table != table[row]).any(dim=1))
        self.register_table("signs", table)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x, same shape and dtype as x [B, ..., n, ...].

        Raises:
            ValueError: If g is not an element or x has not size n along dim.
        """
        self.group.check_element(g)
        self._check(x, 1)
        return x * self._signs_for(x, 0)[g]

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g x, [G, B, ...].

        Raises:
            ValueError: If x has not size n along dim.
        """
        self._check(x, 1)
        return x * self._signs_for(x, x.ndim + self.dim)

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g], [G, B, ...]; a sign is its own inverse.

        Raises:
            ValueError: If y has not one entry per element or not size n along dim.
        """
        self._check_views(y)
        self._check(y, 2)
        return y * self._signs_for(y, y.ndim + self.dim - 1)

    def _check(self, x: Tensor, leading: int) -> None:
        check_size(x, leading, self.dim, self.signs.shape[1], "Signs")
        if x.dtype in (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64):
            raise TypeError(f"Signs acts on numbers that can be negative, got {x.dtype}")

    def _signs_for(self, x: Tensor, before: int) -> Tensor:
        """Return the signs as [G, 1 (before times), n, 1 (after dim)] in the dtype of x."""
        order, n = self.signs.shape
        return self.signs.to(x.dtype).view(order, *[1] * before, n, *[1] * (-self.dim - 1))


class Linear(Action):
    """Multiplies one dim by the matrix of g: (g x)_i = sum_j matrices[g, i, j] x_j.

    The inverse uses the matrix of g^-1, which the homomorphism check has tied to that of g, so no
    numerical inversion takes place and the representation need not be orthogonal.
    """

    matrices: Tensor
    inverse_matrices: Tensor

    def __init__(
        self,
        group: FiniteGroup,
        matrices: Shaped[Tensor, "group n n"] | None = None,
        dim: int = -1,
    ) -> None:
        """Check the representation and keep it.

        Args:
            group: The group that acts.
            matrices: Real matrices, floating point, [G, n, n]. Default: those of the group, if it
                was built from matrices.
            dim: The dim acted on, negative, default -1.

        Raises:
            TypeError: If the matrices are not real floating point.
            ValueError: If there are none, they are not square, do not multiply like the group
                within a relative 1e-6, or dim is not negative.
        """
        super().__init__(group)
        check_dim(dim)
        self.dim = dim
        matrices = _matrices_of(group) if matrices is None else matrices
        check_tensor("matrices", matrices)
        if not matrices.is_floating_point():
            raise TypeError(f"matrices must be real floating point, got {matrices.dtype}")
        check_rows(group, matrices, 3, "matrices")
        if matrices.shape[1] != matrices.shape[2]:
            raise ValueError(f"matrices must be square, got shape {tuple(matrices.shape)}")
        _check_representation(group, matrices.detach().to(device="cpu", dtype=torch.float64))
        self.register_table("matrices", matrices)
        inverses = group.inverses.to(matrices.device)
        self.register_table("inverse_matrices", matrices[inverses])

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x, same shape and dtype as x [B, ..., n, ...].

        Raises:
            TypeError: If x is not floating point.
            ValueError: If g is not an element or x has not size n along dim.
        """
        self.group.check_element(g)
        self._check(x, 1)
        return self._multiply("ij,...j->...i", self.matrices[g], x)

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g x, [G, B, ...].

        Raises:
            TypeError: If x is not floating point.
            ValueError: If x has not size n along dim.
        """
        self._check(x, 1)
        return self._multiply("gij,...j->g...i", self.matrices, x)

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g], [G, B, ...].

        Raises:
            TypeError: If y is not floating point.
            ValueError: If y has not one entry per element or not size n along dim.
        """
        self._check_views(y)
        self._check(y, 2)
        return self._multiply("gij,g...j->g...i", self.inverse_matrices, y)

    def _multiply(self, equation: str, matrices: Tensor, x: Tensor) -> Tensor:
        # Autocast would round the input of the whole model, not only this product.
        with without_autocast(x.device):
            moved = torch.einsum(equation, matrices.to(x.dtype), x.movedim(self.dim, -1))
        return moved.movedim(-1, self.dim)

    def _check(self, x: Tensor, leading: int) -> None:
        check_size(x, leading, self.dim, self.matrices.shape[1], "Linear")
        if not x.is_floating_point():
            raise TypeError(f"Linear acts on floating point tensors, got {x.dtype}")


class Rank2(Action):
    """Multiplies tensors of rank two by the matrix R of g on both sides: g T = R T R^T.

    Used on stresses, inertia, polarisability and covariances. Symmetric tensors stay symmetric.
    """

    def __init__(
        self, group: FiniteGroup, matrices: Shaped[Tensor, "group n n"] | None = None
    ) -> None:
        """Check the representation and keep it.

        Args:
            group: The group that acts.
            matrices: The matrices R, floating point, [G, n, n]. Default: those of the group, if it
                was built from matrices.

        Raises:
            TypeError: As `Linear`.
            ValueError: As `Linear`.
        """
        super().__init__(group)
        checked = Linear(group, matrices).matrices
        order, n, _ = checked.shape
        # R T R^T is linear in T; of a row-major T it is the Kronecker product of R with itself.
        both = torch.einsum("gij,gkl->gikjl", checked, checked).reshape(order, n * n, n * n)
        self.size = n
        self.flat = Linear(group, both)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return g x, same shape and dtype as x [B, ..., n, n].

        Raises:
            TypeError: If x is not floating point.
            ValueError: If g is not an element or the last two dims of x have not size n.
        """
        return self.flat.act(g, self._flattened(x, 1)).reshape(x.shape)

    def orbit(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g x, [G, B, ...].

        Raises:
            TypeError: If x is not floating point.
            ValueError: If the last two dims of x have not size n.
        """
        return self.flat.orbit(self._flattened(x, 1)).reshape(self.group.order, *x.shape)

    def undo(self, y: Shaped[Tensor, "group batch ..."]) -> Shaped[Tensor, "group batch ..."]:
        """Return result[g] = g^-1 y[g], [G, B, ...].

        Raises:
            TypeError: If y is not floating point.
            ValueError: If y has not one entry per element, or its last two dims have not size n.
        """
        self._check_views(y)
        return self.flat.undo(self._flattened(y, 2)).reshape(y.shape)

    def _flattened(self, x: Tensor, leading: int) -> Tensor:
        for dim in (-2, -1):
            check_size(x, leading, dim, self.size, "Rank2")
        return x.flatten(-2)


def _matrices_of(group: FiniteGroup) -> Tensor:
    if group.matrices is None:
        raise ValueError(
            f"{group.name} was not built from matrices: give one for each of its {group.order} "
            "elements, or make the group by matrix_group, rotations, octahedral or icosahedral"
        )
    return group.matrices


def _check_representation(group: FiniteGroup, matrices: Tensor) -> None:
    one = torch.eye(matrices.shape[1], dtype=matrices.dtype, device="cpu")
    scale = TOLERANCE * max(1.0, float(matrices.abs().max()))
    if not torch.allclose(matrices[group.identity], one, rtol=0.0, atol=scale):
        raise ValueError(f"the matrix of the identity (element {group.identity}) is not the unit")

    def differs(g: int, row: Tensor) -> Tensor:
        """Return for each h whether the matrix of g times that of h is not that of gh."""
        error = (matrices[g] @ matrices - matrices[row]).abs()
        size = (matrices[g].abs() @ matrices.abs()).amax(dim=(1, 2), keepdim=True)
        return (error > TOLERANCE * size).flatten(1).any(dim=1)

    check_homomorphism(group, differs)
