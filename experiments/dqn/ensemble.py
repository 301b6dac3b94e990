"""Several networks joined into one, so that their episodes can be played in parallel.

Row i of a batch goes through network i % K. The views of an orbit are dims before the rows, so
code for one network, equivariant or not, also works on joined networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.dqn.policy import greedy
from experiments.dqn.rollouts import Policies, Policy


class JoinedLinear(nn.Module):
    """K linear layers of one shape."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        """Copy the weights, without a gradient."""
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        weight, bias = (torch.stack([getattr(x, n) for x in layers]) for n in ("weight", "bias"))
        self.register_buffer("weight", weight.detach().transpose(1, 2).contiguous())
        self.register_buffer("bias", bias.detach()[:, None])

    def forward(self, rows: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Apply layer i % K to row i."""
        by_layer = rows.reshape(-1, len(self.weight), rows.shape[-1]).transpose(0, 1)
        return torch.baddbmm(self.bias, by_layer, self.weight).transpose(0, 1).flatten(0, 1)


class Joined(nn.Module):
    """K modules of any kind; inputs may have leading dims before the rows."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        """Store the modules, which map [..., rows, inputs] to [..., rows]."""
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, rows: Float[Tensor, "*batch rows inputs"]) -> Float[Tensor, "*batch rows"]:
        """Apply module i % K to row i."""
        by_module = rows.reshape(*rows.shape[:-2], -1, len(self.parts), rows.shape[-1])
        outputs = [part(by_module[..., k, :]) for k, part in enumerate(self.parts)]
        return torch.stack(outputs, dim=-1).flatten(-2)


def join(networks: Sequence[nn.Sequential]) -> nn.Sequential:
    """Join networks of one shape.

    Args:
        networks: From `network.build_network`.

    Returns:
        A network of the same kind; the network itself if there is only one.
    """
    if len(networks) == 1:
        return networks[0]
    layers = zip(*networks, strict=True)
    return nn.Sequential(
        *(JoinedLinear(same) if isinstance(same[0], nn.Linear) else same[0] for same in layers)
    )


class SideBySide(Policies):
    """The greedy policies of one method with several networks."""

    def __init__(
        self,
        networks: Sequence[nn.Sequential],
        nets: Sequence[nn.Module],
        values: Callable[[nn.Sequential, nn.Module | None], nn.Module],
    ) -> None:
        """Store the networks.

        Args:
            networks: From `network.build_network`, of one shape.
            nets: What the weights of each are from, see `policy.make_values`; or empty.
            values: Makes the Q-values from a network and lambda.
        """
        self.networks, self.nets, self.values = networks, nets, values

    def __len__(self) -> int:
        return len(self.networks)

    def together(self, which: Sequence[int] | NDArray[np.int64]) -> Policy:
        """Return the policies of a subset of networks as one."""
        joined = join([self.networks[k] for k in which])
        if not self.nets:
            return greedy(self.values(joined, None))
        return greedy(self.values(joined, Joined([self.nets[k] for k in which])))
