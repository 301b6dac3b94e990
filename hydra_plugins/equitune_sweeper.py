"""A sweeper that ends a sweep with a table. Hydra takes it from a package of this name only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, filter_overrides
from hydra.plugins.launcher import Launcher


class _Watched(Launcher):
    """A launcher that keeps the results of its jobs; Hydra's sweeper ends at the first failure."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.ends: list[JobReturn] = []

    def setup(self, **context: Any) -> None:
        """Do nothing: the other launcher is ready."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs by the other launcher."""
        ends = self.launcher.launch(job_overrides, initial_job_idx)
        self.ends += ends
        return ends


class GridSweeper(BasicSweeper):
    """Hydra's sweeper over all combinations; prints the jobs' main numbers at the end."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep, and print its summary even if jobs failed.

        None is printed for a sweep that was stopped.
        """
        from experiments.frame.cli import describe
        from experiments.frame.sweeps import summary, without_jobs

        assert self.launcher is not None and self.config is not None
        self.launcher = watched = _Watched(self.launcher)
        try:
            results = super().sweep(arguments)
            if not watched.ends:
                raise without_jobs(self._parsed(arguments))
            return results
        finally:
            if watched.ends:
                jobs = [filter_overrides(job) for batch in self.overrides or () for job in batch]
                command, file = self._next(arguments), self._file(jobs)
                for line in summary(jobs, watched.ends, describe, command, file):
                    print(line, flush=True)

    def _file(self, jobs: Sequence[Sequence[str]]) -> Path:
        """Return where the table of a sweep goes; the same jobs write the same file."""
        from experiments.frame.files import digest

        assert self.config is not None
        name = f"{self.config.preset or 'table'}-{digest(repr(jobs))[:12]}.csv"
        return Path(str(self.config.hydra.sweep.dir)) / name

    def _parsed(self, arguments: list[str]) -> list[Override]:
        """Return the axes of the configuration and the words of the command line."""
        assert self.config is not None
        axes = [f"{key}={value}" for key, value in (self.params or {}).items()]
        return OverridesParser.create().parse_overrides([*axes, *arguments])

    def _next(self, arguments: list[str]) -> str:
        """Return the command that shows the rows of a preset, or else the run folders."""
        config = self.config
        assert config is not None
        if config.artefact is None:
            several = any(word.startswith("task=") and "," in word for word in arguments)
            words = ["python", "scripts/runs.py", "list"]
            words += [] if several else ["--task", config.task.name]
        else:
            words = ["python", "scripts/paper_figures.py", config.artefact]
            words += ["--scale", config.scale.name] if config.scale.name != "paper" else []
        words += ["--results", config.results] if config.results != "results" else []
        return shlex.join(words)
