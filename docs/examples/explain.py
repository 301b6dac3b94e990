"""Selection by an energy of the image, and by how much each image was turned."""

import torch
from torch import Tensor, nn

import equitune

torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
ramp = torch.arange(8.0)
photos = 0.1 * torch.rand(4, 1, 8, 8)
photos[:, :, :3] += 1.0  # the sky is above


def energy(inputs: Tensor) -> Tensor:
    """Views [G, B, C, H, W] to one number each [G, B]: how low the light is."""
    return (inputs * ramp[:, None]).mean(dim=(-3, -2, -1))


turns = equitune.Rot90()
rule = equitune.Select(energy, reads="inputs")  # any network in its place
model = equitune.Equivariant(net, turns, equitune.Invariant(turns.group), rule)

turned = torch.stack([photo.rot90(k, (-2, -1)) for k, photo in enumerate(photos)])
found = model.explain(turned)
assert found.moved_by.tolist() == [0, 1, 2, 3]  # quarter turns, counter-clockwise
assert bool((found.margin > 0.1).all())  # how sure: in the unit of the energy
print(found.weights.T, found.spread)  # which view counts; how much the views disagree

torch.testing.assert_close(found.output, model(photos))
