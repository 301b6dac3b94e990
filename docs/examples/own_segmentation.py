"""Segmentation: a torchvision network whose map of classes turns with the image."""

# start
from functools import partial

import torch
from torch import nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import equitune
from equitune import losses


class Maps(nn.Module):
    """The network returns a dict of maps; this, one map."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores, [batch, classes, height, width]."""
        return self.net(images)["out"]


net = Maps(lraspp_mobilenet_v3_large(weights_backbone=None).eval())

turns = equitune.Rot90()  # of images and of maps alike
# The classes are no last dim here: that is the width.
confident = partial(losses.max_probability, dim=-3)
model = equitune.Equivariant(net, turns, turns, equitune.Select(confident))

images = torch.rand(2, 3, 64, 64)
turned = images.rot90(dims=(-2, -1))
expected = model(images).rot90(dims=(-2, -1))
torch.testing.assert_close(model(turned), expected, atol=1e-4, rtol=1e-4)
# end

assert not torch.allclose(net(turned), net(images).rot90(dims=(-2, -1)), atol=1e-3)
