"""Run an experiment: ``python run.py method=equizero task=scan``; see README.md."""

from experiments.cli import main

if __name__ == "__main__":
    main()
