"""What the user chooses for all artefacts at once."""

from __future__ import annotations

from typing import NamedTuple

from scripts._cells import Spread


class Options(NamedTuple):
    """Choices that every builder receives.

    Attributes:
        scales: Scales shown, each in blocks of its own.
        spread: How the spread over seeds is computed.
    """

    scales: tuple[str, ...] = ("paper",)
    spread: Spread = "sample"
