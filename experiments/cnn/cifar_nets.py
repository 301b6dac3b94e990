"""Networks for images of 32x32 pixels: the residual nets of He et al. (2016) and a small AlexNet.

In both, the last child is the classifier and all children before it give the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def shortcut(
    inputs: Float[Tensor, "batch narrow height width"], channels: int, stride: int
) -> Float[Tensor, "batch wide out_height out_width"]:
    """Bring a block's input to the shape of its output without parameters ("option A").

    Args:
        inputs: [B, C, H, W].
        channels: Channels of the output, at least C; the new ones are zero, half of them before
            and half after the old ones.
        stride: Subsampling factor in pixels.

    Returns:
        [B, channels, ceil(H / stride), ceil(W / stride)].
    """
    kept = inputs[:, :, ::stride, ::stride]
    extra = channels - inputs.shape[1]
    return functional.pad(kept, (0, 0, 0, 0, extra // 2, extra - extra // 2))


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the shortcut.

    Args:
        inputs: Channels of the input.
        channels: Channels of the output.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.channels, self.stride = channels, stride

    def forward(self, inputs: Float[Tensor, "batch narrow height width"]) -> Tensor:
        """Return [B, channels, ceil(H / stride), ceil(W / stride)]."""
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        residual: Tensor = self.bn2(self.conv2(hidden))
        return functional.relu(residual + shortcut(inputs, self.channels, self.stride))


def _stage(blocks: int, inputs: int, channels: int, stride: int) -> nn.Sequential:
    """Chain blocks of equal width; the first one takes the stride."""
    first = Block(inputs, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))


class CifarResNet(nn.Module):
    """The residual network for CIFAR-10 of He et al. (2016), Section 4.2.

    Args:
        depth: Layers with weights, 6n + 2: n blocks in each of three stages.
        widths: Channels of the three stages; the second and the third halve the image.
        classes: Number of classes K.

    Raises:
        ValueError: If the depth is not 6n + 2 with n at least 1.
    """

    def __init__(
        self, depth: int = 20, widths: Sequence[int] = (16, 32, 64), classes: int = 10
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth={depth} is not 6n + 2")
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks, first, first, 1)
        self.layer2 = _stage(blocks, first, second, 2)
        self.layer3 = _stage(blocks, second, third, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(third, classes)
        _initialise(self)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Return the logits, [B, K]."""
        hidden = self.relu(self.bn1(self.conv1(images)))
        pooled = self.avgpool(self.layer3(self.layer2(self.layer1(hidden))))
        logits: Tensor = self.linear(torch.flatten(pooled, 1))
        return logits


class CifarAlexNet(nn.Module):
    """AlexNet's five convolutions, with kernels and strides for images of 32x32 pixels.

    There is no normalisation, as in AlexNet. The features are 256 maps of 2x2.

    Args:
        classes: Number of classes K.
        dropout: Probability of dropout before each of the two linear layers.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer, (inputs, channels) in enumerate(pairwise((3, 64, 192, 384, 256, 256))):
            # The first convolution and pooling after the first, second and last halve the image.
            stride = 2 if layer == 0 else 1
            layers += [nn.Conv2d(inputs, channels, 3, stride=stride, padding=1), nn.ReLU()]
            if layer in (0, 1, 4):
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 2 * 2, 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, classes),
        )
        _initialise(self)

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Tensor:
        """Return the logits, [B, K]."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


def _initialise(network: nn.Module) -> None:
    """Draw the convolutions as He et al. (2015) do for ReLU; the rest keeps PyTorch's default."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


#: The networks by name; called with the number of classes.
CIFAR: dict[str, Callable[[int], nn.Module]] = {
    "resnet20": partial(CifarResNet, 20, (16, 32, 64)),
    "resnet32": partial(CifarResNet, 32, (16, 32, 64)),
    "resnet56": partial(CifarResNet, 56, (16, 32, 64)),
    "resnet20x2": partial(CifarResNet, 20, (32, 64, 128)),
    "alexnet": CifarAlexNet,
}
