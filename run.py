"""Run an experiment: ``python run.py method=equizero task=scan``; see README.md."""

import sys
from pathlib import Path

# Where Python puts this folder on no path by itself (PYTHONSAFEPATH, `python -P`).
sys.path.insert(0, str(Path(__file__).resolve().parent))

from experiments.frame.cli import main
from experiments.frame.terminal import run_program

if __name__ == "__main__":
    run_program(main)
