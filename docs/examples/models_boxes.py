"""A detector of transformers: classes stay, boxes turn."""

import torch
from torch import Tensor
from transformers import YolosConfig, YolosForObjectDetection

import equitune
from equitune import losses

torch.manual_seed(0)
small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
size = {"image_size": [32, 32], "patch_size": 8, "num_detection_tokens": 5}
config = YolosConfig(**small, **size, intermediate_size=32, initializer_range=0.5)
net = YolosForObjectDetection(config).double().eval()


class TurnedBoxes(equitune.Action):
    """Quarter turns of boxes (x, y, width, height) in [0, 1], like those of the image."""

    def act(self, g: int, boxes: Tensor) -> Tensor:
        """Turn boxes [..., 4] counter-clockwise by g quarters."""
        x, y, width, height = boxes.unbind(dim=-1)
        for _ in range(g):
            x, y, width, height = y, 1 - x, height, width
        return torch.stack([x, y, width, height], dim=-1)


turns = equitune.Rot90()
boxes, classes = TurnedBoxes(turns.group), equitune.Invariant(turns.group)
model = equitune.Equivariant(
    net,
    turns,
    {"logits": classes, "pred_boxes": boxes},  # an action for each part of the output
    # The boxes of two views are in no common order: choose a view, do not average.
    equitune.Select(lambda found: losses.entropy(found["logits"])),
    output=lambda found: {key: found[key] for key in ("logits", "pred_boxes")},
)
images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
found, turned = model(images), model(turns.act(1, images))
torch.testing.assert_close(turned["logits"], found["logits"])
torch.testing.assert_close(turned["pred_boxes"], boxes.act(1, found["pred_boxes"]))

assert not torch.allclose(net(turns.act(1, images)).logits, net(images).logits)
# A box and its place in the image turn alike.
image = torch.zeros(1, 1, 8, 8)
image[0, 0, 1, 6] = 1  # at x = 6.5 / 8, y = 1.5 / 8
place = torch.tensor([[6.5 / 8, 1.5 / 8, 0.25, 0.125]])
for g in range(4):
    row, column = turns.act(g, image)[0, 0].nonzero()[0].tolist()
    expected = torch.tensor([(column + 0.5) / 8, (row + 0.5) / 8])
    assert torch.equal(boxes.act(g, place)[0, :2], expected)
