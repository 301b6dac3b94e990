"""Detection: one box for each image, which turns with it."""

import torch
from torch import nn

import equitune

torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
images = torch.rand(4, 3, 16, 16)

turns = equitune.DihedralImage()
boxes = equitune.Boxes(turns, size=(16.0, 16.0))  # (x1, y1, x2, y2) in pixels
model = equitune.Equivariant(net, turns, boxes)
assert equitune.equivariance_error(model, images, turns, boxes) < 1e-5

assert equitune.equivariance_error(net, images, turns, boxes) > 1e-2
