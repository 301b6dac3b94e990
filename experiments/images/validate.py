"""Refusals that image tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.frame.errors import UserError
from experiments.frame.methods import one_view
from experiments.frame.options import GroupConfig

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


def check_group(config: AnyConfig) -> None:
    """Give a method of one view the trivial group, which it has whatever was asked for.

    Raises:
        UserError: If lambda has a single view to weigh.
    """
    method = config.method.entry
    if not method.uses_group:
        config.group = GroupConfig(name="trivial")
    elif config.group.name == "trivial" and method.needs_net:
        raise one_view(method)


def check_relus(config: AnyConfig) -> None:
    """Refuse more layers with a ReLU than lambda has hidden ones.

    Raises:
        UserError: If it has fewer.
    """
    relus, net = config.task.lambda_relus, config.method.lambda_net
    if net is not None and relus is not None and relus >= net.depth:
        raise UserError(
            f"task.lambda_relus={relus}: method.lambda_net.depth={net.depth} has "
            f"{net.depth - 1} hidden layers"
        )
