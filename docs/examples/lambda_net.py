"""lambda-equitune: learn which views of a frozen model to trust."""

import torch
from torch import nn

import equitune

torch.manual_seed(0)
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU()).eval()
head = nn.Linear(16, 3)
images, labels = torch.rand(64, 1, 8, 8), torch.randint(0, 3, (64,))

for parameter in (*encoder.parameters(), *head.parameters()):
    parameter.requires_grad_(False)
before = [p.clone() for p in (*encoder.parameters(), *head.parameters())]

turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
weighting = equitune.Learned(equitune.LambdaNet(in_features=16), reads="features")
# A split model: lambda reads what the encoder gives to the head, without a second pass.
model = equitune.Equivariant(encoder, turns, unchanged, weighting, head=head)
optimiser = torch.optim.Adam(weighting.parameters(), lr=1e-2)  # the LambdaNet alone
history = []
for _ in range(60):
    loss = nn.functional.cross_entropy(model(images), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    history.append(loss.item())

assert history[-1] < history[0]
after = (*encoder.parameters(), *head.parameters())
assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

assert equitune.equivariance_error(model.eval(), images, turns, unchanged) < 1e-5
