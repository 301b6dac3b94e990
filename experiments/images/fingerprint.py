"""What decides stored features, as plain data, for every image task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.images.arrays import Split
from experiments.images.sets import fingerprint

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


def features_of(
    config: AnyConfig, split: Split, weights: dict[str, Any], seen: dict[str, Any], views: str
) -> dict[str, Any]:
    """Return what decides the features of a split: weights, which images, how they are seen, views.

    Args:
        config: Names the data set.
        split: Which part of it.
        weights: What decides the network's weights.
        seen: What decides how it sees images.
        views: Name of the group whose orbit is stored.
    """
    return {
        "weights": weights,
        **seen,
        "data": fingerprint(config.dataset, (split,)),
        "dataset": config.dataset.name,
        "classes": config.dataset.classes,
        "split": split,
        "views": views,
        **_limit(config),
    }


def _limit(config: AnyConfig) -> dict[str, int]:
    """Return the number of images of a trial; nothing of another run, which keeps its name."""
    limit = config.task.max_images
    return {} if limit is None else {"max_images": limit}
