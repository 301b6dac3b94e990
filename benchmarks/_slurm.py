"""A real Slurm of one node on this machine, for tests and benchmarks, in a folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

#: What has to be installed (Debian: slurm-wlm and munge).
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "setpriv")
#: Starts a program that ends with the process that started it, however that ends.
FOLLOW = ("setpriv", "--pdeathsig", "TERM")
#: Seconds until the node must be idle.
PATIENCE = 60.0
#: Seconds that Slurm's daemons and processes have to end before they are killed.
KILL_WAIT = 10
#: Debian keeps the daemons where not every user looks.
SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

CONFIGURATION = """\
ClusterName=equitune
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={expire}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=100000,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
JobRequeue=1
KillWait={kill_wait}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime={kill_wait} State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""


def missing() -> str:
    """Return why no Slurm can be started here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if absent:
        return f"Slurm is not installed: there is no {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def cluster(cpus: int = 4) -> Iterator[dict[str, str]]:
    """Start a Slurm of one node, and end it and all its jobs.

    Args:
        cpus: The CPUs that the node declares, more than there are if need be.

    Yields:
        The environment variables with which commands find it.

    Raises:
        RuntimeError: If the node is not idle in time; with the end of the logs.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
        _configure(folder, cpus)
        log = stack.enter_context(open(folder / "daemons.log", "w"))
        for words in (_munged(folder), ["slurmctld", "-D"], ["slurmd", "-D"]):
            daemon = subprocess.Popen([*FOLLOW, *words], env=environment, stdout=log, stderr=log)
            stack.callback(_end, daemon)
            if words[0] == "munged":
                _wait(folder / "munge.socket", daemon)
        stack.callback(_cancel_all, environment)
        _wait_for_node(folder, environment)
        yield environment


def running(environment: dict[str, str], name: str) -> list[str]:
    """Return the jobs of a name that are running.

    Args:
        environment: As `cluster` yields it.
        name: Their name, as `hydra.launcher.name` gives it.
    """
    words = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i", f"--name={name}"]
    answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return answer.stdout.split()


def metrics(results: Path) -> dict[str, bytes]:
    """Return the bytes of the numbers of every finished run, by its task and folder."""
    records = sorted((results / "runs").glob("*/*/record.json"))
    done = [path.parent for path in records if json.loads(path.read_text())["status"] == "done"]
    names = {f"{folder.parent.name}/{folder.name}": folder for folder in done}
    return {name: (folder / "metrics.csv").read_bytes() for name, folder in names.items()}


def obstruct(results: Path, run: str) -> Path:
    """Make one run fail when it writes its numbers: a folder is in the place of the file.

    Args:
        results: The results folder.
        run: The run, as `metrics` names it.

    Returns:
        The folder; without it the run can be finished.
    """
    obstacle = results / "runs" / run / "metrics.csv"
    obstacle.mkdir(parents=True)
    return obstacle


def _configure(folder: Path, cpus: int) -> None:
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    controller, daemon = _free_ports(2)
    text = CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        folder=folder,
        controller=controller,
        daemon=daemon,
        kill_wait=KILL_WAIT,
        expire=5,  # the least; a requeued job waits for so long
        cpus=cpus,
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")


def _munged(folder: Path) -> list[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    options = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    return ["munged", "--foreground", "--force", f"--seed-file={folder}/munge.seed", *options]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _wait(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + PATIENCE
    while not path.exists():
        if daemon.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"munged did not start: {(path.parent / 'daemons.log').read_text()}")
        time.sleep(0.05)


def _wait_for_node(folder: Path, environment: dict[str, str]) -> None:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        words = ["sinfo", "--noheader", "--format=%T", "--partition=main"]
        answer = subprocess.run(words, env=environment, capture_output=True, text=True)
        if answer.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    logs = [path.read_text()[-2000:] for path in sorted(folder.glob("*.log"))]
    raise RuntimeError("\n".join(["Slurm's node is not idle", *logs]))


def _cancel_all(environment: dict[str, str]) -> None:
    """Kill all jobs and wait for them, so that none outlives the daemons."""
    subprocess.run(["scancel", "--full", "--signal=KILL", "--user=root"], env=environment)
    subprocess.run(["scancel", "--user=root"], env=environment)
    limit = time.monotonic() + 2 * KILL_WAIT
    while time.monotonic() < limit:
        words = ["squeue", "--noheader"]
        if not subprocess.run(words, env=environment, capture_output=True).stdout.strip():
            return
        time.sleep(0.2)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(KILL_WAIT)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
