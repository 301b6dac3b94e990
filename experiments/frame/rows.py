"""The words of a metric row, shared by the runs that write rows and the scripts that read them."""

from __future__ import annotations

from collections.abc import Mapping

#: The columns of every metrics.csv, in order: those of ``results/paper/reported.csv``.
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
#: The stages whose rows are results; the rows of other stages are curves of what they build on.
RESULTS = ("evaluate", "timing")
#: Labels of regard, as metrics of the fairness task name them, in the order of stacked bars.
LABELS = ("positive", "neutral", "other", "negative")


def label_of(departures: Mapping[str, object]) -> str:
    """Return the text of the column ``variant``: options by which rows depart, for people to read.

    Args:
        departures: Option to value, in order. The name "" stands before a text that is no option.

    Returns:
        For instance ``coupling=joint, score=emitted``; "" for none.
    """
    return ", ".join(
        f"{name}={value}" if name else str(value) for name, value in departures.items()
    )
