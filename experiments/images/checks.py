"""Refusals that image tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.errors import UserError
from experiments.schema import GroupConfig

if TYPE_CHECKING:
    from experiments.schema import RunConfig


def check_group(config: RunConfig) -> None:
    """Give ``pretrained`` the trivial group, which it has whatever was asked for.

    Raises:
        UserError: If lambda has a single view to weigh.
    """
    method = config.method.name
    if method == "pretrained":
        config.group = GroupConfig(name="trivial")
    elif config.group.name == "trivial" and method == "lambda_equitune":
        raise UserError(
            f"method={method} has one view to weigh in group=trivial; choose method=pretrained"
        )
