"""What a pickle may hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Program:
    """A call: its pickle makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.mark),)
