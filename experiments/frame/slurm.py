"""States of Slurm jobs: whether they may still end by themselves."""

from __future__ import annotations

import subprocess

from submitit.slurm.slurm import SlurmInfoWatcher

#: Final states of a job; in all other states it may still run, or run again.
OVER = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
)
#: State of a job that Slurm has forgotten, some minutes after its end.
FORGOTTEN = "ENDED"


class Queue(SlurmInfoWatcher):  # type: ignore[misc]  # its calls have no types
    """Queries `squeue`, which every Slurm has; submitit's `sacct` needs accounting."""

    def _make_command(self) -> list[str] | None:
        if not self._registered - self._finished:
            return None
        return ["squeue", "--me", "--array", "--states=all", "--noheader", "--format=%i|%T"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """Return the state of every job that is watched.

        Args:
            string: The output of `squeue`: a line per job and per array index.
        """
        text = string if isinstance(string, str) else string.decode()
        listed = dict(line.strip().split("|", 1) for line in text.splitlines() if "|" in line)
        states = {job: listed.get(job, FORGOTTEN) for job in self._registered}
        over = (*OVER, FORGOTTEN)
        return {
            job: {"State": state if state in over else "RUNNING"} for job, state in states.items()
        }


def is_preempted(job: str) -> bool:
    """Whether Slurm has preempted a job that is still running for a short time.

    Args:
        job: Its number; for an array job with its index, such as 12_3 (12 means all of them).
    """
    words = ["scontrol", "show", "job", "--oneliner", job]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    fields = dict(word.partition("=")[::2] for word in answer.stdout.split())
    told = fields.get("PreemptTime") not in (None, "None", "Unknown")
    return told and fields.get("JobState") == "RUNNING"
