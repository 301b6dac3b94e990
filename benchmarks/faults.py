"""Whether runs survive what machines do to them: nothing lost, nothing wrong, nothing half.

python -m benchmarks.faults --kills 100
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from benchmarks import _fault_disk, _fault_files, _fault_kills, _fault_processes
from benchmarks._fault_runs import Case
from experiments.frame.tasks import TASKS
from scripts._arguments import Parser

CHECKS = {
    "SIGKILL": "every file after each kill; at the end, all bytes",
    "killed at a write": "the same, before single operations on files",
    "bit flip": "noticed, or without effect; all bytes that are read",
    "truncation": "the same",
    "disk full": "one line twice, old files; with more room, all bytes",
    "read-only folder": "shown, or one line; nothing is written",
    "rename fails": "one line twice, old files; later, all bytes",
    "processes at once": "one attempt, the same rows, all bytes",
    "lock of a dead owner": "the waiting process goes on; all bytes",
    "clock jumps back": "no negative seconds, all bytes",
}


def faults(kills: int, flips: int, seed: int) -> dict[str, Callable[[], Iterator[Case]]]:
    """Return what can be done to runs, by name; each draws for itself.

    Args:
        kills: At random moments, over all tasks.
        flips: Of bits, for each stored file.
        seed: The seed.
    """

    def draw(name: str) -> random.Random:
        return random.Random(f"{seed} {name}")

    def per_task(
        name: str, do: Callable[[str, int, random.Random], Iterator[Case]], count: int
    ) -> Callable[[], Iterator[Case]]:
        return lambda: (case for task in TASKS for case in do(task, count, draw(name + task)))

    disk = {
        "disk": lambda: _fault_disk.full("scan", 6, draw("disk")),
        "read_only": lambda: _fault_disk.read_only("scan"),
    }
    return {
        "kills": per_task("kills", _fault_kills.at_random, -(-kills // len(TASKS))),
        "writes": lambda: _fault_kills.at_operations("scan", 40, draw("writes")),
        "changes": per_task("changes", _fault_files.changed, flips),
        **(disk if _fault_disk.can_mount() else {}),
        "rename": lambda: _fault_disk.failing_rename("scan", 6, draw("rename")),
        "processes": lambda: _fault_processes.together("scan", (2, 4, 8)),
        "lock": lambda: _fault_processes.dead_owner("scan", 4, draw("lock")),
        "clock": lambda: (case for task in TASKS for case in _fault_processes.clock(task)),
    }


def table(cases: Sequence[Case]) -> str:
    """Return a Markdown table by fault, and below it every case with a problem.

    Args:
        cases: The cases.
    """
    lines = ["| fault | cases | what is checked | outcomes | with a problem |"]
    lines.append("|---|---|---|---|---|")
    for fault in dict.fromkeys(case.fault for case in cases):
        of_kind = [case for case in cases if case.fault == fault]
        counts = Counter(case.outcome for case in of_kind)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        bad = sum(bool(case.problems) for case in of_kind)
        lines.append(f"| {fault} | {len(of_kind)} | {CHECKS[fault]} | {outcomes} | {bad} |")
    for case in cases:
        if case.problems:
            lines += ["", f"- {case.fault}, {case.name}: {'; '.join(case.problems)}"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the faults, print each case as it comes, and then the table.

    Args:
        arguments: Words after the program's name; those of the process by default.

    Returns:
        Exit status: 0, or 1 where a case had a problem.
    """
    parser = Parser(prog="faults", description="Faults, done to small runs.")
    names = list(faults(1, 1, 0))
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="which (all)")
    parser.add_argument("--kills", type=int, default=100, help="over all tasks (default: 100)")
    parser.add_argument("--flips", type=int, default=4, help="for each file (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")
    chosen = parser.parse_args(arguments)
    possible = faults(chosen.kills, chosen.flips, chosen.seed)
    cases = []
    begin = time.monotonic()
    for name in chosen.only:
        for case in possible[name]():
            cases.append(case)
            words = "; ".join(case.problems) or case.outcome
            passed = time.monotonic() - begin
            print(f"{passed:7.1f} s  {case.fault}, {case.name}: {words}", flush=True)
    print(f"\n{table(cases)}")
    return int(any(case.problems for case in cases))


if __name__ == "__main__":
    sys.exit(main())
