"""The code with which a sweep was started goes with its jobs, which may run much later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from experiments import environment

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Submission(Callback):
    """Notes the commit where a sweep is started; Hydra brings it to where its jobs run."""

    def __init__(self) -> None:
        self.commit: dict[str, Any] | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the commit, in the process that starts the sweep."""
        self.commit = environment.commit()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give the commit to the records of the job, and say so if the code is another by now."""
        environment.note_submitted(self.commit)
        if self.commit is not None and self.commit != (now := environment.commit()):
            log.warning("the code has changed since the sweep began: %s, now %s", self.commit, now)
