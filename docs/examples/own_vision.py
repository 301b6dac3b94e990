"""Vision: a torchvision classifier that gives turned images the same classes."""

import torch
from torchvision.models import resnet18

import equitune
from equitune import losses

net = resnet18().eval()  # resnet18(weights="DEFAULT") for the trained one

turns = equitune.Rot90()  # images [batch, channels, height, width], height = width
classes = equitune.Invariant(turns.group)  # a class does not turn with its image
equizero = equitune.Select(losses.max_probability)  # leave it out for equitune, the mean
model = equitune.Equivariant(net, turns, classes, equizero)

images = torch.rand(2, 3, 64, 64)
turned = images.rot90(dims=(-2, -1))
torch.testing.assert_close(model(images), model(turned), atol=1e-4, rtol=1e-4)

assert not torch.allclose(net(images), net(turned), atol=1e-3)
