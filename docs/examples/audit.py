"""An audit of a network that was trained on upright images."""

import torch
from torch import nn

import equitune

torch.manual_seed(0)
images = torch.randn(1200, 1, 8, 8)
images[:, :, 0] += 2  # upright images have a bright upper edge
labels = (images[:, 0, 1, 1] + images[:, 0, 1, 2] > 0).long()
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
optimiser = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
for _ in range(100):
    loss = nn.functional.cross_entropy(net(images[:400]), labels[:400])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

batches = zip(images[400:].split(100), labels[400:].split(100), strict=True)  # not trained on
turns = equitune.Rot90()
audit = equitune.audit(net, batches, turns, equitune.Invariant(turns.group))
print(audit.text())

if audit.recommended is not None:
    weighting = audit.weightings[audit.recommended]
    model = equitune.Equivariant(net, turns, equitune.Invariant(turns.group), weighting)

assert audit.recommended is not None
assert audit.passes == 4 * 800 and audit.samples == (640, 800)
assert equitune.equivariance_error(model, images[:8], turns, equitune.Invariant(turns.group)) < 1e-5
