"""Run an experiment: ``python run.py method=equizero task=scan``; see README.md."""

from experiments.cli import main
from experiments.terminal import run_program

if __name__ == "__main__":
    run_program(main)
