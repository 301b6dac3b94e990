"""The prior: a network that learns from upright images, without labels, which view is upright."""

import torch
from torchvision.models import resnet18

import equitune

net = resnet18().eval()  # resnet18(weights="DEFAULT") for the trained one
images = torch.rand(48, 3, 64, 64)  # yours: upright, as many as you have, without labels

turns = equitune.Rot90()
classes = equitune.Invariant(turns.group)
encoder = torch.nn.Sequential(*list(net.children())[:-1], torch.nn.Flatten())  # all but `net.fc`

with torch.no_grad():  # features of all turns: [4, B, 512] for each batch
    orbits = [
        encoder(turns.orbit(batch).flatten(0, 1)).unflatten(0, (4, len(batch)))
        for batch in images.split(16)
    ]
prior = equitune.LambdaNet(in_features=512, positive="exp")
equitune.fit_prior(prior, orbits[1:], turns.group, held_out=orbits[:1], steps=100)

weighting = equitune.Learned(prior, reads="features")
model = equitune.Equivariant(encoder, turns, classes, weighting, head=net.fc)
logits = model(images[:2])

assert logits.shape == (2, 1000)
assert equitune.equivariance_error(model, images[:2], turns, classes) < 1e-4
