"""Fixtures for the library's tests."""

from __future__ import annotations

import pytest
from jaxtyping import config


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch shape checking off, so that the library's own messages and compiled code are seen."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)
