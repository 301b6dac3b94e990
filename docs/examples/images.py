"""Vision: a classifier under quarter turns of its input, with every weighting."""

import torch
from torch import nn

import equitune
from equitune import losses

torch.manual_seed(0)
images = torch.rand(4, 3, 16, 16)
backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()).eval()
head = nn.Linear(8 * 14 * 14, 10)
net = nn.Sequential(backbone, head)

turns = equitune.Rot90()  # on [batch, ..., height, width]
unchanged = equitune.Invariant(turns.group)  # class logits do not turn
importance = equitune.LambdaNet(in_features=8 * 14 * 14)

weightings = {
    "pretrained": equitune.Identity(turns.group),
    "equitune": equitune.Uniform(),
    "equizero": equitune.Select(losses.max_probability),
    "smooth equizero": equitune.SoftSelect(losses.entropy, temperature=0.1),
    "lambda_equitune": equitune.Learned(importance, features=backbone),
}
errors = {}
for name, weighting in weightings.items():
    model = equitune.Equivariant(net, turns, unchanged, weighting).eval()
    assert model(images).shape == (4, 10)
    errors[name] = equitune.equivariance_error(model, images, turns, unchanged)

assert errors.pop("pretrained") > 1e-3
assert all(error < 1e-5 for error in errors.values())
