"""The CNN task: what its tables and figures share: methods with their losses, which rows count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, LAMBDA_EQUITUNE, METHODS, PRETRAINED
from report.cells import Summary
from report.options import Options
from report.plots.curves import DASHED, DOTTED, SOLID, LineStyle
from report.plots.panels import PURPLE, VERMILION
from report.results import Results, departing, option, own_groups, select

ACCURACY = "top1_accuracy"
GROUP = "rot90"
# Of the figures, by scale; the presets have the first.
DATASETS = {"paper": "cifar10", "demo": "symbols"}
# By protocol: equizero's loss where a row names none, and the images that are evaluated.
LOSSES = {"paper": "max_probability", "reference": "reversed_max_probability"}
IMAGES = {"paper": "test images", "reference": "training images"}
IMAGES_NOTE = f"protocol paper: {IMAGES['paper']}; protocol reference: {IMAGES['reference']}"
LOSS_NOTE = (
    "reversed: max probability with the sign of the authors' code, which takes the least confident "
    "view"
)
# A table has less room than a legend.
_SHORT = {"reversed_max_probability": "reversed"}


class Way(NamedTuple):
    """A method, and equizero's proxy loss (empty for the others, which have none)."""

    method: str
    loss: str = ""

    @property
    def cells(self) -> tuple[str, str]:
        """Its name in a table: method and loss."""
        return self.method, _SHORT.get(self.loss, self.loss.replace("_", " "))

    @property
    def label(self) -> str:
        """Its name in a legend."""
        loss = self.loss.replace("_", " ")
        return f"{self.method} ({loss})" if loss else self.method


REVERSED, ENTROPY = Way(EQUIZERO, "reversed_max_probability"), Way(EQUIZERO, "entropy")
# In the order of the legend.
WAYS = (
    *(Way(LAMBDA_EQUITUNE), Way(EQUITUNE), Way(EQUIZERO, "max_probability")),
    *(ENTROPY, REVERSED, Way(PRETRAINED)),
)
_LABELS = [way.label for way in WAYS]
# Of equizero's losses the first has the method's colour.
COLOURS = {way.label: METHODS[way.method].colour for way in WAYS}
COLOURS |= {ENTROPY.label: VERMILION, REVERSED.label: PURPLE}
STYLES: dict[str, LineStyle] = dict(
    zip(_LABELS, (SOLID, SOLID, SOLID, DASHED, DOTTED, DASHED), strict=True)
)


class Study(NamedTuple):
    """One of the two figures of probing.

    Attributes:
        models: Our networks; the preset's first.
        papers_model: The paper's network, as its rows name it.
        normalised: Whether that has batch norms.
    """

    title: str
    models: tuple[str, ...]
    papers_model: str
    normalised: bool


STUDIES = {
    "figure5b": Study("Figure 5b: ResNet", ("ResNet20", "ResNet18"), "resnet", True),
    "figure11b": Study("Figure 11b: AlexNet", ("SmallAlexNet", "AlexNet"), "alexnet", False),
}


class Arm(NamedTuple):
    """One network, probed and evaluated in one way; methods without rows are absent.

    Attributes:
        selected: Method to the accuracy at the epochs that the runs report.
        epochs: Method to these epochs, one per seed, in order.
    """

    scale: str
    protocol: str
    model: str
    curves: Mapping[Way, Mapping[int, Summary]]
    selected: Mapping[Way, Summary]
    epochs: Mapping[Way, Sequence[int]]


def result_rows(results: Results, options: Options, *, trained: bool) -> pd.DataFrame:
    """Rows of the CNN task and the paper's groups, with the last layers trained or as they are.

    Further columns are `loss`, as in `Way`, and `departure`, what `variant` says beyond loss and
    training: empty for what the protocol defines.
    """
    rows = select(results.ours, task="cnn", scale=options.scales)
    untrained = option(rows, "training") == "none"
    rows = rows[(rows["group"] == own_groups(rows, GROUP)) & (untrained != trained)]
    loss = option(rows, "loss").fillna(rows["protocol"].map(LOSSES))
    choosing = [name for name, method in METHODS.items() if method.needs_loss]
    departure = departing(rows, "loss", *(["training"] * (not trained)))
    return rows.assign(loss=loss.where(rows["method"].isin(choosing), ""), departure=departure)


def of_way(rows: pd.DataFrame, way: Way) -> pd.DataFrame:
    """The rows of a method with a loss."""
    return select(rows, method=way.method, loss=way.loss)
