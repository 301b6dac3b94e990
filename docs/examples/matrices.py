"""A group from a few matrices."""

import torch

import equitune

turn = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
over = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]
tile = equitune.matrix_group([turn, over])  # all products: the eight turns of a flat square
assert tile.order == 8
assert tile.matrices is not None  # float64, [8, 3, 3]

# Under a mirror, vectors such as angular momentum turn without it: det(R) R.
mirrored = equitune.octahedral(reflections=True)
assert mirrored.matrices is not None
signs = torch.linalg.det(mirrored.matrices)[:, None, None]
spin = equitune.Linear(mirrored, signs * mirrored.matrices)

assert spin.orbit(torch.randn(2, 3)).shape == (48, 2, 3)
