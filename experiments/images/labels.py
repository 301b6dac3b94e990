"""The readable parts of the names of runs that image tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


def features_label(config: AnyConfig) -> str:
    """Return that of a run which depends on data and weights alone."""
    return f"{config.dataset.name}-{config.model.name}"


def method_label(config: AnyConfig) -> str:
    """Return that of a method's run."""
    parts = (config.dataset.name, config.model.name, config.group.name, config.method.name)
    return f"{'-'.join(parts)}-seed{config.seed}"
