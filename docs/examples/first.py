"""An equivariant model in five lines: class logits that do not change when the image turns."""

import torch
from torch import nn

import equitune

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)).eval()
images = torch.rand(4, 3, 16, 16)

turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
model = equitune.Equivariant(net, turns, unchanged)
logits = model(images)
print(equitune.equivariance_error(model, images, turns, unchanged))

assert logits.shape == (4, 10)
assert equitune.equivariance_error(model, images, turns, unchanged) < 1e-5
assert equitune.equivariance_error(net, images, turns, unchanged) > 1e-3
