"""Segmentation: a torchvision network whose map of classes turns with the image."""

from functools import partial

import torch
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import equitune
from equitune import losses

net = lraspp_mobilenet_v3_large(weights_backbone=None).eval()

turns = equitune.Rot90()  # of images and of maps alike
# The classes are no last dim here: that is the width.
confident = partial(losses.max_probability, dim=-3)
# The network returns a dict of maps; "out" is the one we need.
model = equitune.Equivariant(net, turns, turns, equitune.Select(confident), output="out")

images = torch.rand(2, 3, 64, 64)
turned = images.rot90(dims=(-2, -1))
expected = model(images).rot90(dims=(-2, -1))
torch.testing.assert_close(model(turned), expected, atol=1e-4, rtol=1e-4)

plain = net(images)["out"].rot90(dims=(-2, -1))
assert not torch.allclose(net(turned)["out"], plain, atol=1e-3)
