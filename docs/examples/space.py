"""Points in space: an energy that turns nothing, forces that turn, a stress that turns twice."""

import torch
from torch import Tensor, nn

import equitune

torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(15, 32), nn.Tanh(), nn.Linear(32, 1)).double()
vectors = nn.Sequential(nn.Flatten(), nn.Linear(15, 15), nn.Unflatten(1, (5, 3))).double()
points = torch.randn(8, 5, 3, dtype=torch.float64)


class Tensors(nn.Module):
    """One symmetric tensor for each cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(15, 9, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 3, 3] for points [N, 5, 3]."""
        tensor = self.net(x.flatten(1)).view(-1, 3, 3)
        return tensor + tensor.mT


tensors = Tensors()

cube = equitune.octahedral()  # 24 turns; reflections=True gives all 48 symmetries
clouds = equitune.Linear(cube)  # on [batch, ..., 3]; the group brings its matrices

energy = equitune.Equivariant(net, clouds, equitune.Invariant(cube))
forces = equitune.Equivariant(vectors, clouds, clouds)
stress = equitune.Equivariant(tensors, clouds, equitune.Rank2(cube))

assert equitune.equivariance_error(energy, points, clouds, equitune.Invariant(cube)) < 1e-10
assert equitune.equivariance_error(forces, points, clouds, clouds) < 1e-10
assert equitune.equivariance_error(stress, points, clouds, equitune.Rank2(cube)) < 1e-10

found = stress(points)
assert torch.equal(found, found.mT)
