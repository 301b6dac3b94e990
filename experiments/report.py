"""What a finished run shows on the terminal."""

from __future__ import annotations

from experiments.records import FinishedRun


def show(run: FinishedRun) -> None:
    """Print where a run lives and its numbers, one line each."""
    print(f"\n{run.folder}")
    for row in run.rows():
        where = " ".join(
            str(row[key])
            for key in ("dataset", "model", "method", "split", "step", "variant")
            if row[key]
        )
        print(f"  {where:60s} {row['metric']:>20s} {float(row['value']):10.4f}")
