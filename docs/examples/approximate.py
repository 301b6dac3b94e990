"""Turns by 45 degrees: nearly equivariant, and by how much."""

import torch
from torch import nn

import equitune

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 28 * 28, 10)).eval()
noise = torch.randn(4, 3, 6, 6)
images = nn.functional.interpolate(noise, size=(32, 32), mode="bicubic")  # smooth

turns = equitune.ApproximateRotation(8)
unchanged = equitune.Invariant(turns.group)
model = equitune.Equivariant(net, turns, unchanged)

images = turns.act(0, images)  # only the disc in the image turns
of_images = equitune.action_error(turns, images)  # about 0.1: g(hx) is not (gh)x
of_model = equitune.equivariance_error(model, images, turns, unchanged)  # not zero, either
of_net = equitune.equivariance_error(net, images, turns, unchanged)
print(of_images, of_model, of_net)

assert 0.01 < of_images < 0.3
assert 1e-4 < of_model < of_net / 4
