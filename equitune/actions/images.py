"""Right-angle turns and mirrors of images, as exact moves of pixels."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune.actions.base import Action, check_dim
from equitune.groups import FiniteGroup, cyclic, dihedral


class _ImageAction(Action):
    """An action on two image dims (height, width)."""

    def __init__(self, group: FiniteGroup, dims: tuple[int, int]) -> None:
        super().__init__(group)
        if not isinstance(dims, tuple | list) or len(dims) != 2:
            raise TypeError(
                f"dims must be the two image dims, as (-2, -1), got {dims!r}; for turns by "
                "360 / n degrees write ApproximateRotation(n)"
            )
        for dim in dims:
            check_dim(dim)
        if dims[0] == dims[1]:
            raise ValueError(f"dims={dims} must name two different dims, such as (-2, -1)")
        self.dims = dims

    def _turn(self, x: Tensor, quarters: int) -> Tensor:
        self._check_image(x, square=quarters % 2 == 1)
        return torch.rot90(x, quarters, self.dims)

    def _check_image(self, x: Tensor, square: bool) -> None:
        if x.ndim <= -min(self.dims):
            raise ValueError(f"image dims {self.dims} do not exist in shape {tuple(x.shape)}")
        height, width = x.shape[self.dims[0]], x.shape[self.dims[1]]
        if square and height != width:
            raise ValueError(
                f"a quarter turn needs a square image, got {height} x {width} "
                f"in shape {tuple(x.shape)}; see equitune.letterbox"
            )


class Rot90(_ImageAction):
    """Quarter turns over cyclic(4); element k turns counter-clockwise by k * 90 degrees."""

    def __init__(self, dims: tuple[int, int] = (-2, -1)) -> None:
        """Name the image dims.

        Args:
            dims: (height, width), negative, default (-2, -1).

        Raises:
            TypeError: If they are not two whole numbers.
            ValueError: If the dims are not negative and different.
        """
        super().__init__(cyclic(4), dims)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return x turned by g quarters, same shape.

        Raises:
            ValueError: If g is not an element or a quarter turn meets an image that is not square.
        """
        self.group.check_element(g)
        # Checked for every g, so that an orbit never fails half-way with a message about shapes.
        self._check_image(x, square=True)
        return self._turn(x, g)


class Rot180(_ImageAction):
    """Half turns over cyclic(2); images need not be square."""

    def __init__(self, dims: tuple[int, int] = (-2, -1)) -> None:
        """Name the image dims.

        Args:
            dims: (height, width), negative, default (-2, -1).

        Raises:
            TypeError: If they are not two whole numbers.
            ValueError: If the dims are not negative and different.
        """
        super().__init__(cyclic(2), dims)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return x turned by g half turns, same shape.

        Raises:
            ValueError: If g is not an element or x has too few dims.
        """
        self.group.check_element(g)
        return self._turn(x, 2 * g)


class Mirror(Action):
    """Reversal of one dim over cyclic(2); dim=-1 mirrors left and right, dim=-2 up and down."""

    def __init__(self, dim: int = -1) -> None:
        """Name the reversed dim.

        Args:
            dim: The dim to reverse, negative, default -1.

        Raises:
            ValueError: If dim is not negative.
        """
        super().__init__(cyclic(2))
        check_dim(dim)
        self.dim = dim

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return x (g = 0) or its mirror image (g = 1), same shape.

        Raises:
            ValueError: If g is not an element or x has no such dim behind its batch dim.
        """
        self.group.check_element(g)
        if x.ndim <= -self.dim:
            raise ValueError(f"mirrored dim {self.dim} does not exist in shape {tuple(x.shape)}")
        return x.flip(self.dim) if g else x


class DihedralImage(_ImageAction):
    """The eight symmetries of a square over dihedral(4).

    r is the counter-clockwise quarter turn and s the mirror of the last image dim; element
    r^k s (index 4 + k) mirrors first and then turns.
    """

    def __init__(self, dims: tuple[int, int] = (-2, -1)) -> None:
        """Name the image dims.

        Args:
            dims: (height, width), negative, default (-2, -1); s mirrors the second.

        Raises:
            TypeError: If they are not two whole numbers.
            ValueError: If the dims are not negative and different.
        """
        super().__init__(dihedral(4), dims)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return x mirrored if g >= 4, then turned by g mod 4 quarters, same shape.

        Raises:
            ValueError: If g is not an element or a quarter turn meets an image that is not square.
        """
        self.group.check_element(g)
        self._check_image(x, square=True)
        mirrored = x.flip(self.dims[1]) if g >= 4 else x
        return self._turn(mirrored, g % 4)
