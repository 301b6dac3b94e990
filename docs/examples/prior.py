"""Which view is upright? Learned from upright images alone, without labels."""

import torch
from torch import nn

import equitune

torch.manual_seed(0)
images = torch.randn(512, 1, 8, 8)
images[:, :, 0] += 3  # upright images have a bright upper edge
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh()).eval()
net = nn.Sequential(encoder, nn.Linear(32, 2))
turns = equitune.Rot90()

with torch.no_grad():  # features of all turns, once: [4, B, 32] for each batch
    orbits = [
        encoder(turns.orbit(batch).flatten(0, 1)).unflatten(0, (4, len(batch)))
        for batch in images.split(64)
    ]
upright = equitune.LambdaNet(in_features=32, positive="exp")
done = equitune.fit_prior(upright, orbits[:6], turns.group, held_out=orbits[6:], steps=200)
print(done.held_out[done.chosen])  # log 4 = 1.39 before training

# Its softmax is a lambda of Eq. 4 ...
unchanged = equitune.Invariant(turns.group)
weighting = equitune.Learned(upright, features=encoder)
model = equitune.Equivariant(net, turns, unchanged, weighting)

# ... and its argmax an equizero; it also tells how far each image was turned.
views = model.views(turns.act(1, images[:8]))
scores = upright(encoder(views.inputs.flatten(0, 1))).unflatten(0, (4, 8))
logits, index = equitune.select(views.undone, -scores)

assert done.held_out[done.chosen] < 0.7
assert float((index == 3).double().mean()) > 0.7  # three more quarters make them upright
assert logits.shape == (8, 2)
assert equitune.equivariance_error(model, images[:8], turns, unchanged) < 1e-5
