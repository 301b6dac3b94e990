"""Means, spreads and their printed form."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.cells import (
    Number,
    format_counts,
    format_reported,
    format_summary,
    outside_spread,
    summarise,
)


def test_the_sample_spread_is_known_for_three_seeds() -> None:
    assert summarise([70.0, 72.0, 74.0]) == Number(72.0, 2.0, 3)


def test_the_reference_spread_of_three_seeds_is_the_sample_one_times_root_of_four_fifths() -> None:
    summary = summarise([70.0, 72.0, 74.0], "reference")
    assert summary is not None and summary.spread is not None
    assert summary.mean == 72.0 and summary.seeds == 3
    assert math.isclose(summary.spread, 2.0 * math.sqrt(0.8), rel_tol=1e-12)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_the_reference_spread_is_that_of_the_doubled_values(values: list[float]) -> None:
    sample, reference = summarise(values), summarise(values, "reference")
    assert sample is not None and sample.spread is not None
    assert reference is not None and reference.spread is not None
    n = len(values)
    factor = math.sqrt((2 * n - 2) / (2 * n - 1))
    assert math.isclose(sample.spread, statistics.stdev(values), rel_tol=1e-9)
    assert math.isclose(reference.spread, factor * sample.spread, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("spread", ["sample", "reference"])
def test_one_seed_has_no_spread(spread: str) -> None:
    assert summarise([70.04], spread) == Number(70.04, None, 1)  # type: ignore[arg-type]
    assert format_summary(summarise([70.04])) == "70.0 (\N{EN DASH})"


def test_no_seed_is_missing() -> None:
    assert summarise([]) is None
    assert format_summary(None) == "missing"


def test_the_papers_numbers_keep_their_decimals() -> None:
    assert format_reported(77.9, 3.05) == "77.9 (3.05)"
    assert format_reported(0.0, 0.0) == "0.0 (0.0)"
    assert format_reported(3703, math.nan) == "3703.0"


@pytest.mark.parametrize(
    ("ours", "outside"),
    [
        (Number(78.0, 1.3, 3), False),
        (Number(78.1, 1.3, 3), True),
        (Number(72.4, 1.3, 3), False),
        (Number(72.3, 1.3, 3), True),
        (Number(76.7, None, 1), False),
        (Number(76.8, None, 1), True),
    ],
)
def test_outside_means_further_than_both_spreads_together(ours: Number, outside: bool) -> None:
    assert outside_spread(ours, 75.2, 1.5) is outside


def test_a_distance_equal_to_the_spread_is_not_outside() -> None:
    # In binary 8.4 - 7.1 is a little more than 1.3.
    assert not outside_spread(Number(8.4, None, 1), 7.1, 1.3)
    assert outside_spread(Number(8.41, None, 1), 7.1, 1.3)


def test_differences_carry_their_sign() -> None:
    assert format_summary(Number(2.04, 0.5, 3), signed=True) == "+2.0 (0.5)"
    assert format_summary(Number(-2.06, 0.5, 3), signed=True) == "-2.1 (0.5)"
    # Neither plus nor minus where it rounds to zero.
    assert format_summary(Number(0.04, 0.5, 3), signed=True) == "0.0 (0.5)"
    assert format_summary(Number(-0.04, 0.5, 3), signed=True) == "0.0 (0.5)"


def test_counts_are_one_number_where_they_agree() -> None:
    three, one = Number(1.0, 0.5, 3), Number(1.0, None, 1)
    assert format_counts([three, three]) == "3"
    assert format_counts([three, None, one]) == "3/0/1"
    assert format_counts([None, None]) == "0"
