"""Quarter turns of images that are not square: a square around them that no model sees.

A quarter turn gives an image of 48 x 64 the shape 64 x 48, and an orbit is one tensor. So images
travel in a square, with NaN where there is no image; a turn of the square is exact. In front of the
model the square is taken off again, and each shape goes through the model as a batch of its own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from equitune.kinds import check_kind, check_tensor


def letterbox(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels size size"]:
    """Return images in the smallest square that holds them, with NaN around.

    Args:
        images: A batch, floating point, [B, C, H, W].

    Returns:
        The squares, [B, C, S, S] with S the larger of H and W.

    Raises:
        TypeError: If the images are not floating point, which NaN needs.
        ValueError: If they are not [B, C, H, W].
    """
    check_tensor("images", images)
    _check_batch("images", images)
    if not images.is_floating_point():
        raise TypeError(f"letterbox needs floating point images, got {images.dtype}")
    height, width = images.shape[-2:]
    size = max(height, width)
    return functional.pad(images, (0, size - width, 0, size - height), value=torch.nan)


def unletterbox(
    outputs: Shaped[Tensor, "batch channels size size"],
    images: Float[Tensor, "batch other_channels size size"],
) -> Shaped[Tensor, "batch channels height width"]:
    """Return outputs that are images without the square around them.

    Args:
        outputs: What an equivariant model with `Letterboxed(model, dense=True)` returned.
        images: Its inputs, all of one shape in their squares.

    Returns:
        The outputs at the places of the images, [B, K, H, W].

    Raises:
        ValueError: If the images have several shapes in their squares.
    """
    shapes = set(_shapes(images))
    if len(shapes) != 1:
        raise ValueError(f"images must have one shape in their squares, got {sorted(shapes)}")
    inside = _inside(images).expand_as(outputs)
    return outputs[inside].view(*outputs.shape[:2], *shapes.pop())


class Letterboxed(nn.Module):
    """A model, or a network of features, that reads images without the squares around them.

    The shapes in a batch are found by looking at the images, which `torch.export` and
    `torch.compile(fullgraph=True)` cannot follow.
    """

    def __init__(self, model: nn.Module, dense: bool = False) -> None:
        """Wrap a model that reads images of the shapes of an orbit.

        Args:
            model: Maps images [N, C, H, W] to one tensor [N, ...].
            dense: The outputs are images of the same height and width, [N, K, H, W]. They are given
                in squares too, with zeros around. Default False.
        """
        super().__init__()
        check_kind("model", model, nn.Module, "a module (torch.nn.Module)")
        self.model = model
        self.dense = dense

    def forward(self, x: Float[Tensor, "batch channels size size"]) -> Shaped[Tensor, "batch ..."]:
        """Return the outputs of the model, [N, ...], from one pass for each shape.

        Args:
            x: Squares as `letterbox` makes them, and their turns and mirrors.

        Raises:
            ValueError: If an image holds NaN itself, or dense outputs have another size.
        """
        shapes = _shapes(x)
        rows, found = [], []
        for shape in sorted(set(shapes)):
            mine = [row for row, other in enumerate(shapes) if other == shape]
            found.append(self._pass(x[mine], shape))
            rows += mine
        order = torch.tensor(rows, device=x.device).argsort()
        return found[0] if len(found) == 1 else torch.cat(found)[order]

    def _pass(self, squares: Tensor, shape: tuple[int, int]) -> Tensor:
        inside = _inside(squares)
        images = squares[inside.expand_as(squares)]
        if inside.sum() != len(squares) * shape[0] * shape[1] or bool(images.isnan().any()):
            raise ValueError("images must not hold NaN, which marks what is around them")
        outputs: Tensor = self.model(images.view(*squares.shape[:2], *shape))
        if not self.dense:
            return outputs
        if outputs.ndim != 4 or outputs.shape[-2:] != shape:
            raise ValueError(
                f"dense outputs must be [N, K, {shape[0]}, {shape[1]}] like the images, got shape "
                f"{tuple(outputs.shape)}"
            )
        around = outputs.new_zeros(*outputs.shape[:2], *squares.shape[-2:])
        return around.masked_scatter(inside, outputs)


def _check_batch(what: str, images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(
            f"{what} must be [batch, channels, height, width], got shape {tuple(images.shape)}; "
            "one image alone is x[None]"
        )


def _inside(squares: Tensor) -> Tensor:
    """Return where the images are in their squares, [B, 1, S, S]."""
    return ~squares[:, :1].isnan()


def _shapes(squares: Tensor) -> list[tuple[int, int]]:
    """Return the shape of each image in its square."""
    check_tensor("images", squares)
    _check_batch("images in squares", squares)
    inside = _inside(squares)[:, 0]
    sizes = torch.stack([inside.any(dim=2).sum(dim=1), inside.any(dim=1).sum(dim=1)], dim=1)
    return [(height, width) for height, width in sizes.tolist()]
