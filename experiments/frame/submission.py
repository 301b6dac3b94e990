"""Data that a sweep passes to its jobs, which may run much later: its length and commit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from experiments.frame import machine

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

#: Sweepers over all combinations. By name: Hydra loads the modules of plugins a second time.
_GRIDS = ("BasicSweeper", "GridSweeper")


class Submission(Callback):
    """Stores the commit at the start of a sweep, and the number of its jobs.

    Hydra passes both to the jobs.
    """

    def __init__(self) -> None:
        self.commit: dict[str, Any] | None = None
        self.jobs: int | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Store the commit and count the jobs, in the process that starts the sweep."""
        self.commit = machine.commit()
        self.jobs = _count(config)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Log the job's number; record the sweep's commit; warn if the code has changed."""
        if self.jobs is not None:
            log.info("job %d of %d", config.hydra.job.num + 1, self.jobs)
        machine.note_submitted(self.commit)
        if self.commit is not None and self.commit != (now := machine.commit()):
            log.warning("the code has changed since the sweep began: %s, now %s", self.commit, now)


def _count(config: DictConfig) -> int | None:
    """Return the number of jobs of a sweep over all combinations.

    None for other sweepers, and for words that are refused.
    """
    sweeper = OmegaConf.select(config, "hydra.sweeper")
    if sweeper is None or not sweeper._target_.endswith(_GRIDS):
        return None
    axes = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides([*axes, *config.hydra.overrides.task])
    try:
        return sum(map(len, BasicSweeper.split_arguments(overrides, None)))
    except HydraException:
        return None
