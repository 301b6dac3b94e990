"""What a network is trained on by the suite itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from experiments.frame.conf import section
from experiments.frame.errors import UserError
from experiments.images.options import ImageDataset

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


def is_ours(config: AnyConfig) -> bool:
    """Whether the model is one that the suite trains."""
    return config.model.checkpoint is None and config.model.weights == "ours"


def pretraining_data(config: AnyConfig) -> ImageDataset:
    """Return the data set that the suite trains a network on: the run's own, or another one.

    Raises:
        UserError: If conf/dataset/ has none of this name, or it is not for this task.
    """
    recipe = config.task.pretrain
    if recipe.dataset == config.dataset.name:
        root = recipe.root or config.dataset.root
        own: ImageDataset = dataclasses.replace(config.dataset, root=root)
        return own
    if recipe.dataset == "images":
        raise UserError(
            "task.pretrain.dataset=images: a folder of your own is learned from together with "
            "dataset=images, whose classes it has"
        )
    found = section("dataset", recipe.dataset, ImageDataset, config.task.name)
    return dataclasses.replace(found, root=recipe.root, key="task.pretrain")
