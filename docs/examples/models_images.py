"""Image classifiers of three libraries, as they are."""

import timm
import torch
from torchvision.models import resnet18
from transformers import ViTConfig, ViTForImageClassification

import equitune
from equitune import losses

torch.manual_seed(0)
small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
config = ViTConfig(**small, intermediate_size=32, image_size=32, patch_size=8)
nets = {
    "torchvision": resnet18(),
    "timm": timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10, depth=2),
    "transformers": ViTForImageClassification(config),  # returns a dataclass, not a tensor
}
turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
equizero = equitune.Select(losses.max_probability)
images = torch.rand(3, 3, 32, 32, dtype=torch.float64)

for name, net in nets.items():
    output = "logits" if name == "transformers" else None
    model = equitune.Equivariant(net.double().eval(), turns, unchanged, equizero, output=output)
    found = model.explain(images)  # costs what model(images) costs
    again = model.explain(images.rot90(dims=(-2, -1)))
    torch.testing.assert_close(again.output, found.output)
    assert torch.equal(again.moved_by, (found.moved_by + 1) % 4)  # one quarter turn more
    print(name, found.moved_by.tolist(), found.margin.tolist())
