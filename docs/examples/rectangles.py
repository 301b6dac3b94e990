"""Quarter turns of images of 12 x 16 pixels."""

import torch
from torch import Tensor, nn

import equitune

torch.manual_seed(0)
images = torch.rand(4, 3, 12, 16)
segmenter = nn.Conv2d(3, 5, 3, padding=1)


class Pooled(nn.Module):
    """A classifier of images of any shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 5), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, 10] for images [N, 3, H, W]."""
        return self.last(self.conv(x).tanh().mean(dim=(-2, -1)))


net = Pooled()

turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
squares = equitune.letterbox(images)  # [4, 3, 16, 16], with NaN where there is no image

classifier = equitune.Equivariant(equitune.Letterboxed(net), turns, unchanged)
assert equitune.equivariance_error(classifier, squares, turns, unchanged) < 1e-5

maps = equitune.Equivariant(equitune.Letterboxed(segmenter, dense=True), turns, turns)
found = equitune.unletterbox(maps(squares), squares)  # [4, 5, 12, 16]

assert found.shape == (4, 5, 12, 16)
assert equitune.equivariance_error(maps, squares, turns, turns) < 1e-5
assert torch.equal(equitune.Letterboxed(net)(squares), net(images))
