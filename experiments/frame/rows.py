"""Columns and labels of metric rows, shared by the runs and the scripts that read them."""

from __future__ import annotations

from collections.abc import Mapping

#: The columns of every metrics.csv, in order, as in ``results/paper/reported.csv``.
COLUMNS = (
    "task",
    "dataset",
    "model",
    "group",
    "transform",
    "method",
    "protocol",
    "scale",
    "seed",
    "split",
    "step",
    "view",
    "variant",
    "metric",
    "value",
)
PROTOCOLS = ("reference", "paper")
SCALES = ("paper", "demo")
#: The stages whose rows are results; rows of other stages are curves of earlier stages.
RESULTS = ("evaluate", "timing", "continuity")
#: Labels of regard in the fairness task's metrics, in the order of stacked bars.
LABELS = ("positive", "neutral", "other", "negative")


def label_of(departures: Mapping[str, object]) -> str:
    """Return the readable text of the column ``variant``: the options that depart from conf/.

    Args:
        departures: Values by option, in order. The option "" marks a free text.

    Returns:
        For instance ``coupling=joint, score=emitted``; "" for none.
    """
    return ", ".join(
        f"{name}={value}" if name else str(value) for name, value in departures.items()
    )
