"""Two sweeps on a real Slurm whose jobs are stopped at random moments, and one of which fails.

python -m benchmarks.slurm

It needs root and Debian's slurm-wlm and munge; the same numbers are computed without Slurm first.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmarks._slurm import cluster, metrics, missing, obstruct, running

SCAN = (
    *("experiment=table2", "scale=demo", "dataset=add_jump", "protocol=reference", "model=RNN"),
    *("method=pretrained,equitune,equizero", "seed=0,1,2,3", "task.max_commands=50"),
    *("task.pretrain.iterations=20000", "task.pretrain.evaluations=2"),
    "task.pretrain.checkpoint_every=1000",
)
DQN = (
    *("experiment=figure2", "scale=demo", "task.regime=demo", "dataset=gridworld"),
    *("method=pretrained,equitune,equizero", "seed=0,1,2,3", "task.recipe.steps=6000"),
)
SWEEPS = {"scan": SCAN, "dqn": DQN}
JOBS = {"scan": 12, "dqn": 12}
#: How a running job is stopped, and what becomes of it.
STOPS = {
    "`scontrol requeue`": ("scontrol", "requeue"),
    "signal of a time limit": ("scancel", "--signal=USR2"),
}
URGENT = ("sbatch", "--partition=urgent", "--ntasks=4", "--output=/dev/null", "--wrap=sleep 1")
PREEMPTION = "pre-emption, of all that run"


class Ends(NamedTuple):
    """What a round of both sweeps came to.

    Attributes:
        status: The exit status of each.
        failed: The lines of each that tell a failed job.
        stopped: How often jobs were stopped in each way.
    """

    status: dict[str, int]
    failed: dict[str, list[str]]
    stopped: Counter[str]


def start(results: Path, name: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Send one of the sweeps to Slurm."""
    words = [
        *("hydra/launcher=submitit_slurm", f"hydra.launcher.name={name}", "logger=none"),
        *("hydra.launcher.max_num_timeout=20", f"results={results}"),
    ]
    return subprocess.Popen(
        [sys.executable, "run.py", *SWEEPS[name], *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def disturb(environment: dict[str, str], chance: random.Random) -> str | None:
    """Stop a running job, or by a more urgent one all of them; return how."""
    jobs = sorted(job for name in SWEEPS for job in running(environment, name))
    if not jobs:
        return None
    how = chance.choice([*STOPS, PREEMPTION])
    words = URGENT if how == PREEMPTION else (*STOPS[how], chance.choice(jobs))
    try:  # in vain where the job ends, or only begins, in this moment: scancel then tries for long
        subprocess.run(words, env=environment, capture_output=True, check=True, timeout=3)
    except subprocess.SubprocessError:
        return None
    return how


def sweep(results: Path, environment: dict[str, str], chance: random.Random, stops: int) -> Ends:
    """Run both sweeps at the same time.

    Args:
        results: The results folder.
        environment: The variables with which commands find Slurm.
        chance: The moments and the jobs.
        stops: How many times jobs are stopped.
    """
    processes = {name: start(results, name, environment) for name in SWEEPS}
    stopped: Counter[str] = Counter()
    while stopped.total() < stops and any(p.poll() is None for p in processes.values()):
        time.sleep(chance.uniform(1, 5))
        how = disturb(environment, chance)
        stopped.update([how] if how else [])
    errors = {name: process.communicate()[1] for name, process in processes.items()}
    failed = {
        name: [line for line in text.splitlines() if " failed: " in line and "seed=" in line]
        for name, text in errors.items()
    }
    return Ends({name: p.returncode for name, p in processes.items()}, failed, stopped)


def attempts(results: Path) -> tuple[int, int]:
    """Return the number of runs and of their attempts."""
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/*/record.json")]
    return len(records), sum(record["attempts"] for record in records)


def report(name: str, ends: Ends, found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """Return the table's row of a round."""
    same = sum(found[run] == expected[run] for run in found)
    failed = sum(map(len, ends.failed.values()))
    status = ", ".join(f"{sweep} {status}" for sweep, status in ends.status.items())
    done = sum(JOBS.values()) - failed
    return f"| {name} | {status} | {done} | {failed} | {same} of {len(expected)} |"


def main(seed: int = 0, stops: int = 16) -> int:
    """Print the results of the jobs; return 0 if all numbers are those of undisturbed runs."""
    if missing():
        print(f"error: {missing()}", file=sys.stderr)
        return 2
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, cluster() as environment:
        alone, results = Path(folder, "alone"), Path(folder, "results")
        for words in SWEEPS.values():
            shared = ("hydra/launcher=joblib", "logger=none", f"results={alone}")
            command = [sys.executable, "run.py", *words, *shared]
            subprocess.run(command, check=True, capture_output=True)
        expected = metrics(alone)
        fails = chance.choice(sorted(run for run in expected if "equizero" in run))
        obstacle = obstruct(results, fails)
        first = sweep(results, environment, chance, stops)
        print(
            f"| | exit status | jobs done | jobs failed | runs with the same bytes |\n{'|---' * 5}|"
        )
        print(report("disturbed, one job fails", first, metrics(results), expected), flush=True)
        obstacle.rmdir()
        second = sweep(results, environment, chance, 0)
        found = metrics(results)
        print(report("the same commands again", second, found, expected))
        runs, tries = attempts(results)
        print("\nJobs were stopped by:", ", ".join(f"{k} {n}" for k, n in first.stopped.items()))
        print(f"{runs} runs took {tries} attempts. The job that failed was told in this line:")
        for line in first.failed["scan"] + first.failed["dqn"]:
            print(f"    {line.replace(folder, '')}")
    return 0 if found == expected and set(second.status.values()) == {0} else 1


if __name__ == "__main__":
    sys.exit(main())
