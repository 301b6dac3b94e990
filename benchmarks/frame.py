"""Wall seconds of the frame itself: help, bad input, a finished run that is skipped.

python -m benchmarks.frame
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

SMALL = (
    "logger=none",
    "model=RNN",
    "task.max_commands=5",
    "task.pretrain.iterations=1",
    "task.pretrain.evaluations=1",
    "task.pretrain.backend=torch",
)


def seconds(*arguments: str) -> float:
    """Return the wall seconds of one ``python run.py`` process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "run.py", *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


def main(repeats: int = 7) -> None:
    """Print the median of each, after one warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        works = {
            "--help": ["--help"],
            "bad input (group=rot90)": ["group=rot90"],
            "a finished run is skipped": [*SMALL, f"results={folder}"],
        }
        for name, arguments in works.items():
            seconds(*arguments)
            times = [seconds(*arguments) for _ in range(repeats)]
            print(f"{name:28s} median {statistics.median(times):.2f} s, least {min(times):.2f} s")


if __name__ == "__main__":
    main()
