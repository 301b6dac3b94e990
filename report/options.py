"""What the user chooses for all artefacts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

Spread = Literal["sample", "reference"]
SPREADS: tuple[Spread, ...] = get_args(Spread)


class Options(NamedTuple):
    """Choices that every builder receives.

    Attributes:
        scales: Scales shown, each in blocks of its own.
        variants: Whether rows of fresh runs that depart from the protocol are taken in.
    """

    scales: tuple[str, ...] = ("paper",)
    spread: Spread = "sample"
    variants: bool = False


def figures_folder(results: Path, scale: str) -> Path:
    """Where artefacts are written: those of scale `paper` apart from `demo` and `all`."""
    return results / "figures" if scale == "paper" else results / scale / "figures"
