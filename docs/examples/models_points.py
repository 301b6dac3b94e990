"""A point cloud: a network that returns a class and a vector, under turns about the z axis."""

import torch
from torch import Tensor, nn

import equitune


class Net(nn.Module):
    """Any network on clouds [N, P, 3] will do; this one averages over its points."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.classes, self.force = nn.Linear(32, 4), nn.Linear(32, 3)

    def forward(self, cloud: Tensor) -> dict[str, Tensor]:
        """Return class logits [N, 4] and a force [N, 3]."""
        hidden = self.points(cloud).mean(dim=1)
        return {"logits": self.classes(hidden), "force": self.force(hidden)}


torch.manual_seed(0)
eighths = equitune.cyclic(8)
angles = torch.arange(8, dtype=torch.float64) * torch.pi / 4
matrices = torch.eye(3, dtype=torch.float64).repeat(8, 1, 1)
matrices[:, 0, 0] = matrices[:, 1, 1] = angles.cos()
matrices[:, 1, 0], matrices[:, 0, 1] = angles.sin(), -angles.sin()
turns = equitune.Linear(eighths, matrices)  # on the last dim: of points and of forces

actions = {"logits": equitune.Invariant(eighths), "force": turns}
model = equitune.Equivariant(Net().double().eval(), turns, actions)
clouds = torch.randn(2, 100, 3, dtype=torch.float64)
assert equitune.equivariance_error(model, clouds, turns, actions) < 1e-12

assert equitune.equivariance_error(model.model, clouds, turns, actions) > 1e-3
