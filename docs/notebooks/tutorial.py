"""Tutorial: a classifier on turned images. scripts/tutorial.py writes the page and the notebook."""

# %% [markdown]
# # Tutorial: a classifier on turned images
#
# A small network has learned six letters, upright. How well does it read them when they are
# turned, and what does each method recover? All is drawn here: no download, seconds on one core.

# %%
import copy
from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import nn

import equitune
from equitune import losses

torch.manual_seed(0)
LETTERS = {
    "F": "11110 10000 11100 10000 10000",
    "L": "10000 10000 10000 10000 11111",
    "P": "11110 10010 11110 10000 10000",
    "J": "01111 00010 00010 10010 11100",
    "E": "11111 10000 11110 10000 11111",
    "T": "11111 00100 00100 00100 00100",
}
SHAPES = torch.tensor(
    [[[float(dot) for dot in line] for line in text.split()] for text in LETTERS.values()]
)


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw letters of three dots per dot at random places, with noise: [N, 1, 20, 20], [N]."""
    labels = torch.randint(len(SHAPES), (count,))
    images = torch.zeros(count, 1, 20, 20)
    big = SHAPES.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    for image, label, (x, y) in zip(images, labels, torch.randint(6, (count, 2)), strict=True):
        image[0, y : y + 15, x : x + 15] = big[label]
    return images + 0.6 * torch.randn_like(images), labels


train, held_out, test = draw(1500), draw(300), draw(1000)

# %% [markdown]
# ## The pretrained model
#
# It sees upright letters only.

# %%
encoder = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
    *(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU()),
)
net = nn.Sequential(encoder, nn.Linear(64, len(LETTERS)))
optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(10):
    for images, labels in zip(train[0].split(50), train[1].split(50), strict=True):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
net.eval()

turns = equitune.Rot90()
same = equitune.Invariant(turns.group)  # class scores do not turn


@torch.no_grad()
def accuracy(model: nn.Module, turned: bool) -> float:
    """Return the share of right classes in percent, upright or over all four turns."""
    images, labels = test
    views = [turns.act(g, images) for g in (turns.group.elements if turned else [0])]
    right = [(model(view).argmax(dim=1) == labels).double().mean() for view in views]
    return 100 * float(torch.stack(right).mean())


results: dict[str, float] = {}


def report(name: str, model: nn.Module) -> None:
    """Print and keep the accuracy of a model."""
    results[name] = accuracy(model, turned=True)
    print(f"{name:26} upright {accuracy(model, turned=False):5.1f}   turned {results[name]:5.1f}")


report("pretrained", net)

# %% [markdown]
# Turned letters are mostly misread.
#
# ## Without training
#
# `equitune` averages the scores of all four turns, `equizero` takes the surest of them. Neither
# learns anything, and both give the same answer for an image and its turns.

# %%
report("equitune", equitune.Equivariant(net, turns, same))
surest = partial(losses.max_probability, log_odds=True)  # the log-odds do not saturate at 1
report("equizero", equitune.Equivariant(net, turns, same, equitune.Select(surest)))

# %% [markdown]
# ## Without labels: which view is upright?
#
# A network on the features of upright training images learns to tell the upright view from the
# others. It needs no labels, and no turned images: the turns are made here.

# %%
with torch.no_grad():
    orbits = [
        encoder(turns.orbit(part).flatten(0, 1)).unflatten(0, (4, len(part)))
        for part in train[0].split(100)
    ]
upright = equitune.LambdaNet(in_features=64, positive="exp")
equitune.fit_prior(upright, orbits[:12], turns.group, held_out=orbits[12:], steps=300)
prior = equitune.Learned(upright, features=encoder)
report("prior", equitune.Equivariant(net, turns, same, prior))

# %% [markdown]
# ## With labels: λ, then the model
#
# λ learns the weights by the labels, the model frozen. Then the whole model is trained through
# the mean, λ frozen. λ reads a copy of the encoder, so that its features stay as they are.

# %%
batches = list(zip(train[0].split(100), train[1].split(100), strict=True))
importance = equitune.LambdaNet(in_features=64, positive="exp")
weighting = equitune.Learned(importance, features=copy.deepcopy(encoder))
model = equitune.Equivariant(copy.deepcopy(net), turns, same, weighting)
equitune.fit_lambda(model, batches, [held_out], steps=300)
report("lambda-equitune", model)
equitune.fine_tune(
    model, batches, [held_out], steps=200, optimiser=partial(torch.optim.Adam, lr=1e-3)
)
report("lambda-equitune, tuned", model)

# %% [markdown]
# The equivariance error is the rounding of float32, at every step.

# %%
print(f"equivariance error {equitune.equivariance_error(model, test[0][:20], turns, same):.0e}")

# %% [markdown]
# ## A picture
#
# Without labels the prior recovers most of what the turns cost here, with labels λ and a short
# fine-tuning a little more. On your model the order can be another one: `equitune.audit` measures
# it ([Audit](audit.md)).

# %%
figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
axes.barh([*results], [*results.values()], color="#0072B2")
axes.invert_yaxis()
axes.set(xlabel="accuracy on turned letters (%)", xlim=(0, 100))
plt.show()
