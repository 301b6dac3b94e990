"""Launchers of a sweep: as jobs of a Slurm cluster, or as processes of this machine with its GPUs.

Hydra takes launchers from packages of this name only. Both go on where its own launchers for
submitit would end the sweep: a job that fails, or is killed, costs one line, and the others finish.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

from experiments.frame.errors import STOPPED, Interrupted, RunFailed, UserError, one_line
from experiments.frame.machine import python_path

if TYPE_CHECKING:
    from submitit.core.core import Job

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
#: Seconds between two looks at the results, and at most between two questions to Slurm.
RESULTS_INTERVAL, QUEUE_INTERVAL = 0.5, 30
#: Starts a program that is deaf to signals until it handles them: a job that they end before that
#: would have failed, where one that Slurm has to kill is started again.
DEAF = ("sh", "-c", 'trap \'\' TERM USR1 USR2; exec "$0" "$@"')
#: Words of a launcher's configuration that it reads itself, and does not hand to submitit.
OWN = ("submitit_folder", "max_num_timeout")
#: The least value of words that are numbers.
LEAST = {
    **{"timeout_min": 1, "signal_delay_s": 0, "max_num_timeout": 0},
    **{"array_parallelism": 1, "n_jobs": 1},
}
#: Words that submitit has for every kind of cluster.
SHARED = ("name", "nodes", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")


class Presets(SearchPathPlugin):
    """Makes way for the presets in ``conf/hydra/launcher`` where a plugin has one of that name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Take the plugins' presets away; Hydra would hold ours against them."""
        theirs = ConfigStore.instance().repo["hydra"]["launcher"]
        for path in (ROOT / "conf/hydra/launcher").glob("*.yaml"):
            theirs.pop(path.name, None)


class _Launcher(BaseSubmititLauncher):  # type: ignore[misc]  # Hydra's plugins have no types
    """What both have in common: jobs are sent, waited for, and their ends are told one by one."""

    def setup(self, **context: Any) -> None:
        """Take what Hydra gives, and refuse values that no sweep can have."""
        super().setup(**context)
        for name, least in LEAST.items():
            value = self.params.get(name, least)
            if type(value) is not int or value < least:
                raise UserError(f"hydra.launcher.{name}={value} must be a number, at least {least}")

    @abstractmethod
    def run(self, arguments: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Job[JobReturn]]]:
        """Send the jobs and yield each, with its place, when it has ended.

        Args:
            arguments: What each job calls this launcher with.
        """

    def __call__(self, *arguments: Any) -> JobReturn:
        """Do one job; called in its own process.

        A job that is asked to stop leaves no result, as it may be started again.
        """
        try:
            end: JobReturn = super().__call__(*arguments)
            return end
        except Interrupted as stopped:
            log.warning("%s", stopped)
            self.ask_again()
            sys.exit(STOPPED)

    def ask_again(self) -> None:
        """Ask for a job that has saved its state to be started again, where that needs asking."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs of a sweep and wait for all of them.

        Args:
            job_overrides: The words of each job.
            initial_job_idx: The number of the first one.

        Returns:
            The result of each; of a failed job the error.
        """
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        # A job finds this checkout from any folder.
        os.environ["PYTHONPATH"] = python_path()
        arguments = [
            (list(words), "hydra.sweep.dir", number, f"job_{number}", Singleton.get_state())
            for number, words in enumerate(job_overrides, initial_job_idx)
        ]
        returns: dict[int, JobReturn] = {}
        for place, job in self.run(arguments):
            returns[place] = end = _end(job, filter_overrides(job_overrides[place]))
            if end.status == JobStatus.COMPLETED:
                words = " ".join(filter_overrides(job_overrides[place]))
                log.info("done, %d of %d: %s", len(returns), len(arguments), words)
        return [returns[place] for place in range(len(arguments))]

    def _given(self) -> dict[str, Any]:
        """Return what submitit is told of each job; what is null is left to it."""
        return {
            key: value for key, value in self.params.items() if key not in OWN and value is not None
        }


class SlurmLauncher(_Launcher):
    """Sends a sweep to Slurm as one array of jobs."""

    def setup(self, **context: Any) -> None:
        """Take what Hydra gives, and refuse a machine without Slurm before anything is done."""
        super().setup(**context)
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise UserError(
                "hydra/launcher=submitit_slurm: Slurm's sbatch is not on this machine; "
                "choose from: basic, joblib, submitit_local"
            )

    def ask_again(self) -> None:
        """Send a job again that Slurm pre-empts: one that ends in its time of grace it forgets."""
        from submitit import JobEnvironment

        from experiments.frame.slurm import is_preempted

        job = JobEnvironment()
        if is_preempted(job.job_id):
            signal.raise_signal(job._usr_sig())  # submitit's own request

    def run(self, arguments: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Job[JobReturn]]]:
        """Send the array and yield each job when it has ended."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from experiments.frame.slurm import Queue

        executor = submitit.AutoExecutor(
            folder=self.params["submitit_folder"],
            cluster="slurm",
            slurm_max_num_timeout=self.params["max_num_timeout"],
            slurm_python=shlex.join([*DEAF, sys.executable]),
        )
        given = self._given().items()
        try:
            executor.update_parameters(
                **{key if key in SHARED else f"slurm_{key}": value for key, value in given}
            )
            with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says is in the error too
                jobs = executor.map_array(self, *zip(*arguments, strict=True))
        except (AssertionError, NameError, FailedJobError, FailedSubmissionError) as error:
            lines = " ".join(str(error).split())
            raise UserError(f"hydra/launcher=submitit_slurm: {lines}") from error
        log.info("%d jobs sent to Slurm; their logs: %s", len(jobs), jobs[0].paths.folder.parent)
        queue = Queue(delay_s=QUEUE_INTERVAL)
        for job in jobs:
            job.watcher = queue
            queue.register_job(job.job_id)
        yield from _as_they_end(dict(enumerate(jobs)))


class LocalLauncher(_Launcher):
    """Runs a sweep in processes of this machine, so many at a time, each with a GPU of its own."""

    def setup(self, **context: Any) -> None:
        """Take what Hydra gives, and refuse values that no sweep can have."""
        super().setup(**context)
        gpus = self.params["gpus"]
        if not isinstance(gpus, list) or not all(type(gpu) is int and gpu >= 0 for gpu in gpus):
            raise UserError(f"hydra.launcher.gpus={gpus} must be a list of numbers, as [0,1]")

    def run(self, arguments: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Job[JobReturn]]]:
        """Start a job wherever a place is free and yield each when it has ended."""
        import submitit

        given = self._given()
        gpus, jobs = given.pop("gpus"), given.pop("n_jobs")
        free: list[int | None] = list(gpus) or [None] * jobs
        executor = submitit.LocalExecutor(
            self.params["submitit_folder"], max_num_timeout=self.params["max_num_timeout"]
        )
        waiting, places = list(enumerate(arguments)), dict[int, int | None]()
        running: dict[int, Job[JobReturn]] = {}
        while waiting or running:
            while waiting and free:
                number, words = waiting.pop(0)
                places[number] = gpu = free.pop(0)
                visible = () if gpu is None else (gpu,)
                executor.update_parameters(
                    **given, visible_gpus=visible, gpus_per_node=len(visible)
                )
                running[number] = executor.submit(self, *words)
            number, job = next(_as_they_end(running))
            free.append(places[number])
            del running[number]
            yield number, job


def _as_they_end(jobs: dict[int, Job[JobReturn]]) -> Iterator[tuple[int, Job[JobReturn]]]:
    """Yield jobs in the order in which they end."""
    left = dict(jobs)
    while left:
        ended = [number for number, job in left.items() if job.done()]
        for number in ended:
            yield number, left.pop(number)
        if not ended:
            time.sleep(RESULTS_INTERVAL)


def _end(job: Job[JobReturn], words: Sequence[str]) -> JobReturn:
    """Return the result of a job: what it returned, or why it failed, as an error of one line."""
    from experiments.frame.cli import BAD_INPUT, describe

    try:
        end = job.result()
        if end.status == JobStatus.COMPLETED:
            return end
        error = end._return_value
    except Exception as submitit_error:  # none is of interest to its caller but as a line
        error = submitit_error
    if not job.paths.result_pickle.exists():
        error = RunFailed(f"ended without a result, {job.state}; the same command goes on with it")
    elif not isinstance(error, BAD_INPUT):
        error = RunFailed(_last_line(error))
    log.error("failed: %s: %s (log: %s)", " ".join(words), describe(error), job.paths.stderr)
    return JobReturn(overrides=words, status=JobStatus.FAILED, _return_value=error)


def _last_line(error: Exception) -> str:
    """Return what is wrong, of an error's text or of the traceback that submitit puts into it."""
    _, dashes, trace = str(error).partition("----\n")
    text = trace.partition("\n----")[0] if dashes else one_line(error)
    return next(line for line in [*reversed(text.splitlines()), type(error).__name__] if line)
