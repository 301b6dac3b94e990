"""Whether wrong command lines are refused: at once, in one line, with nothing written.

python -m benchmarks.bad_input --cases 416

Files that must be loaded to be judged are refused when the run has begun: its record says so then,
and the reason is the last line.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks._bad_cases import Case, cases
from benchmarks._bad_files import FOLDER, MARK
from experiments.frame.cli import FULL_ERROR
from scripts._arguments import Parser

ROOT = Path(__file__).parents[1]
#: A refusal takes less; a process that goes on is ended.
LIMIT, PATIENCE, LATE = 3.0, 10.0, 60.0


class Outcome(NamedTuple):
    """The result of a case.

    Attributes:
        case: The case.
        seconds: Wall time of the process.
        faults: What was not as it must be; empty if the case was refused well.
        output: What the process wrote on stderr.
    """

    case: Case
    seconds: float
    faults: tuple[str, ...]
    output: str


def attempt(case: Case) -> Outcome:
    """Run a case in a process of its own, with an empty results folder.

    Args:
        case: The case.

    Returns:
        The outcome.
    """
    environment = {name: value for name, value in os.environ.items() if name != FULL_ERROR}
    with tempfile.TemporaryDirectory() as folder:
        logger = [] if any(word.startswith("logger=") for word in case.words) else ["logger=none"]
        given = [word.replace(FOLDER, f"{folder}/own") for word in case.words]
        words = [sys.executable, "run.py", f"results={folder}/results", *logger, *given]
        for name, content in case.files:
            path = Path(folder, "own", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        before = _tree()
        start = time.perf_counter()
        try:
            ran = subprocess.run(
                words,
                cwd=ROOT,
                env=environment | {"PYTHONPATH": f"{folder}/own", "HF_HUB_OFFLINE": "1"},
                capture_output=True,
                text=True,
                timeout=LATE if case.late else PATIENCE,
            )
            status, output, printed = ran.returncode, ran.stderr, ran.stdout
        except subprocess.TimeoutExpired as ended:
            status, output, printed = 0, _text(ended.stderr), _text(ended.stdout)
        seconds = time.perf_counter() - start
        executed = Path(ROOT, MARK).exists()
        if executed:
            Path(ROOT, MARK).rmdir()
        written = _tree() != before or Path(folder, "results").exists()
    lines = [line for line in output.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("run.py: ")]
    faults = {
        "not refused": status == 0,
        "executed": executed,
        "traceback": "Traceback" in output,
        "slow": seconds > LIMIT and not case.late,
        "not one line": (len(own) if case.late else len(lines)) != 1 or bool(printed.strip()),
        "no reason": not lines or not lines[-1].startswith("run.py: "),
        "something written": written and not case.late,
    }
    return Outcome(case, seconds, tuple(name for name, true in faults.items() if true), output)


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tree() -> set[Path]:
    """Return what lies in the checkout's own results and beside them."""
    return {*ROOT.iterdir(), *(ROOT / "results").iterdir(), *(ROOT / "results").glob("runs/*/*")}


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table by kind, and below it every case that was not refused well.

    Args:
        outcomes: The outcomes.
    """
    lines = ["| kind | cases | refused | slowest, s |", "|---|---|---|---|"]
    for kind in dict.fromkeys(outcome.case.kind for outcome in outcomes):
        of_kind = [outcome for outcome in outcomes if outcome.case.kind == kind]
        refused = sum(not outcome.faults for outcome in of_kind)
        slowest = max(outcome.seconds for outcome in of_kind)
        lines.append(f"| {kind} | {len(of_kind)} | {refused} | {slowest:.2f} |")
    for outcome in outcomes:
        if outcome.faults:
            last = (outcome.output.strip().splitlines() or ["nothing on stderr"])[-1]
            words = shlex.join(outcome.case.words)
            lines += ["", f"- `{words}`: {', '.join(outcome.faults)}", f"  `{last[:300]}`"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print the table.

    Args:
        arguments: Words after the program's name; those of the process by default.

    Returns:
        Exit status: 0, or 1 where a case was not refused as it must be.
    """
    parser = Parser(prog="bad_input", description="Wrong command lines.")
    parser.add_argument("--cases", type=int, default=416, help="how many (default: 416)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="at a time (default: 2)")
    chosen = parser.parse_args(arguments)
    with ThreadPoolExecutor(chosen.workers) as pool:
        outcomes = list(pool.map(attempt, cases(chosen.cases, chosen.seed)))
    print(table(outcomes))
    return int(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
