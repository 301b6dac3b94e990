"""Deployment: export, compilation, and training in several processes."""

import os
import tempfile

import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import equitune
from equitune import losses

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)).eval()
images, labels = torch.rand(4, 3, 16, 16), torch.randint(10, (4,))
turns = equitune.Rot90()
unchanged = equitune.Invariant(turns.group)
rule = equitune.Select(losses.max_probability)
folder = tempfile.TemporaryDirectory()
file = os.path.join(folder.name, "model.pt2")

model = equitune.Equivariant(net, turns, unchanged, rule).eval()
batch = torch.export.Dim("batch", min=1, max=1024)
program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
torch.export.save(program, file)

loaded = torch.export.load(file).module()  # without equitune's classes
more = torch.rand(7, 3, 16, 16)
torch.testing.assert_close(loaded(more), model(more))

store = os.path.join(folder.name, "store")
init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)

learned = equitune.Learned(equitune.LambdaNet(10), reads="outputs")
model = equitune.Equivariant(net, turns, unchanged, learned)  # the wrapper goes inside
replicated = DistributedDataParallel(model)
optimiser = torch.optim.Adam(replicated.parameters(), lr=1e-3)
nn.functional.cross_entropy(replicated(images), labels).backward()
optimiser.step()
print(replicated.module.explain(images).best)

for part in (model.model, model.weighting, model):
    fully_shard(part)
nn.functional.cross_entropy(model(images), labels).backward()

destroy_process_group()
folder.cleanup()
