"""lambda-equitune in two calls, with early stopping on held-out images."""

import copy
from functools import partial

import torch
from torch import nn

import equitune

torch.manual_seed(0)
images = torch.randn(512, 1, 8, 8)
images[:, :, 0] += 3  # upright images have a bright upper edge
labels = (images[:, 0, 0, 0] > images[:, 0, 0, 7]).long()
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh())
net = nn.Sequential(encoder, nn.Linear(32, 2))
optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(100):
    loss = nn.functional.cross_entropy(net(images[:256]), labels[:256])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

train = list(zip(images[:256].split(64), labels[:256].split(64), strict=True))
held_out = [(images[256:], labels[256:])]

turns = equitune.Rot90()
importance = equitune.LambdaNet(in_features=32, positive="exp")
lambda_reads = copy.deepcopy(encoder).eval()  # so that its features stay when the model is trained
weighting = equitune.Learned(importance, features=lambda_reads)
model = equitune.Equivariant(net, turns, equitune.Invariant(turns.group), weighting)

first = equitune.fit_lambda(model, train, held_out, steps=200)  # the model is frozen
second = equitune.fine_tune(  # lambda is frozen
    model, train, held_out, steps=100, optimiser=partial(torch.optim.Adam, lr=1e-4)
)
for done in (first, second):
    print(done.chosen, len(done.losses), done.held_out[0], done.held_out[done.chosen])

assert first.held_out[first.chosen] < first.held_out[0]
assert second.held_out[second.chosen] <= first.held_out[first.chosen] + 1e-6
unchanged = equitune.Invariant(turns.group)
assert equitune.equivariance_error(model, images[:8], turns, unchanged) < 1e-5
