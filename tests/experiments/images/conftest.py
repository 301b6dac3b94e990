"""Configurations of image data sets as conf/dataset/ gives them, changed where a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.frame.conf import CONF
from experiments.images.options import ImageDataset

Dataset = Callable[..., ImageDataset]


@pytest.fixture
def dataset() -> Dataset:
    """Read an option of conf/dataset/ with its schema."""

    def make(name: str, **changes: Any) -> ImageDataset:
        values = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
        del values["defaults"]
        schema = OmegaConf.structured(ImageDataset)
        config = OmegaConf.to_object(OmegaConf.merge(schema, values, changes))
        assert isinstance(config, ImageDataset)
        return config

    return make
