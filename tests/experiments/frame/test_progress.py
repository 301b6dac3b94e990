"""Progress of long work: lines in a log, and a warning where minutes are left."""

from __future__ import annotations

import logging

import pytest

from experiments.frame import progress as module
from experiments.frame.progress import progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.mark.parametrize(("seconds", "warned"), [(4.0, True), (2.0, False)])
def test_work_of_more_than_five_minutes_names_the_key_that_makes_it_shorter_once(
    seconds: float, warned: bool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with progress("train", 100, 0, "task.epochs makes it shorter") as bar:
        for step in range(1, 100):
            clock.now += seconds
            bar.update(step)
    lines = [r.getMessage() for r in caplog.records]
    assert lines == (
        ["train: about 6 minutes left; task.epochs makes it shorter"] if warned else []
    )


def test_an_estimate_counts_what_this_attempt_has_done(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with progress("train", 100, 90) as bar:
        bar.update(91)
        clock.now = 40.0
        bar.update(95, "loss 1")
    assert [r.getMessage() for r in caplog.records] == ["train: 95 of 100, 50 s left loss 1"]


def test_what_is_compiled_before_the_first_units_is_no_part_of_the_pace(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is a test between two reports of the same unit, as SCAN's held-out accuracy."""
    caplog.set_level(logging.INFO)
    with progress("train", 100, 0, "task.epochs makes it shorter") as bar:
        bar.update(0)
        clock.now = 60.0
        bar.update(1, "loss 1")
        clock.now += 31.0
        bar.update(1, "held out 50 %")
        clock.now += 9.0
        bar.update(21)
        clock.now += 40.0
        bar.update(41)
    assert [r.getMessage() for r in caplog.records] == [
        "train: 1 of 100 loss 1",
        "train: 1 of 100 held out 50 %",
        "train: 41 of 100, 118 s left",
    ]
