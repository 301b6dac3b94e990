"""Intervals, verdicts and the number of seeds that a verdict would need."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from scipy import stats

from report.cells import Interval
from report.claims.statistics import (
    CONTRARY,
    NOT_RUN,
    REPRODUCED,
    TESTED,
    UNDECIDED,
    Aim,
    Found,
    decide,
    holds,
    holm,
    lacking,
    overall,
    p_value,
    paired,
    seeds_needed,
)

ABOVE = Aim("above")


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.0, -1.0, 0.5], [0.1 * n for n in range(16)]])
def test_the_interval_is_scipy_s_paired_t(values: list[float]) -> None:
    found = paired(values)
    expected = stats.ttest_1samp(values, 0.0)
    assert expected.confidence_interval(0.95) == pytest.approx(found.interval)
    assert p_value(found, ABOVE) == pytest.approx(expected.pvalue)
    assert found.seeds == len(values) and found.basis == "seeds"


def test_one_seed_has_no_interval_and_equal_differences_have_a_point() -> None:
    assert paired([2.0]) == Found(2.0)
    found = paired([2.0, 2.0, 2.0])
    assert found.interval == (2.0, 2.0)
    assert p_value(found, ABOVE) == 0.0
    assert p_value(paired([0.0, 0.0]), ABOVE) == 1.0


@pytest.mark.parametrize("mean", [0.2, 0.35, 0.7, 1.0, -2.0, 5.0, 40.0])
def test_needed_seeds_are_what_a_direct_search_finds(mean: float) -> None:
    def excludes_zero(number: int) -> bool:
        # Differences of this number, mean and standard deviation (one).
        drawn = np.random.default_rng(number).normal(size=number)
        drawn = (drawn - drawn.mean()) / drawn.std(ddof=1) + mean
        low, high = stats.ttest_1samp(drawn, 0.0).confidence_interval(0.95)
        return bool(low > 0 or high < 0)

    expected = next(number for number in count(2) if excludes_zero(number))
    assert seeds_needed(mean, 1.0) == (expected if expected <= 100 else None)
    assert seeds_needed(10 * mean, 10.0) == seeds_needed(mean, 1.0)


def test_no_effect_needs_more_seeds_than_are_counted() -> None:
    assert seeds_needed(0.0, 1.0) is None and seeds_needed(0.01, 1.0) is None
    assert seeds_needed(0.1, 0.0) == 2


@pytest.mark.parametrize(
    ("low", "high", "aim", "verdict"),
    [
        (0.1, 1.0, ABOVE, REPRODUCED),
        (-1.0, -0.1, ABOVE, CONTRARY),
        (-0.1, 1.0, ABOVE, UNDECIDED),
        (0.0, 0.0, ABOVE, CONTRARY),
        (-0.4, 0.4, Aim("above", 0.0, 0.5), CONTRARY),
        (0.1, 0.4, Aim("above", 0.0, 0.5), CONTRARY),
        (0.1, 0.6, Aim("above", 0.0, 0.5), REPRODUCED),
        (-4.0, 1.0, Aim("above", -5.0), REPRODUCED),
        (-9.0, -6.0, Aim("above", -5.0), CONTRARY),
        (1.0, 1.2, Aim("below", 1.25), REPRODUCED),
        (1.3, 1.4, Aim("below", 1.25), CONTRARY),
        (1.2, 1.3, Aim("below", 1.25), UNDECIDED),
        (0.96, 1.05, Aim("equal", 1.0, 0.05), REPRODUCED),
        (1.06, 1.5, Aim("equal", 1.0, 0.05), CONTRARY),
        (0.9, 1.0, Aim("equal", 1.0, 0.05), UNDECIDED),
        (0.1, 2.0, Aim("unequal"), REPRODUCED),
        (-2.0, -0.1, Aim("unequal"), REPRODUCED),
        (0.0, 0.0, Aim("unequal"), CONTRARY),
        (-1.0, 1.0, Aim("unequal"), UNDECIDED),
    ],
)
def test_verdicts(low: float, high: float, aim: Aim, verdict: str) -> None:
    assert decide(Found((low + high) / 2, Interval(low, high)), aim) == verdict


def test_without_interval_nothing_is_decided() -> None:
    assert decide(Found(5.0), ABOVE) == UNDECIDED
    assert lacking(Found(5.0), ABOVE) == "one seed"
    assert lacking(Found(5.0, Interval(-1.0, 11.0), basis="images"), ABOVE) == "one seed"


def test_an_undecided_difference_says_how_many_seeds_more() -> None:
    found = paired([1.0, -0.4, 1.5])
    needed = seeds_needed(found.value, found.spread or 0.0)
    assert needed is not None and needed > 3
    assert lacking(found, ABOVE) == f"{needed - 3} more seeds"
    assert lacking(paired([1.0, -1.0]), ABOVE) == "> 100 seeds"
    assert lacking(paired([1.0, 1.1]), ABOVE) == ""
    # Of equality the nearer edge of the margin is what must be left.
    near = seeds_needed(abs(found.value - 0.2), found.spread or 0.0)
    assert near is not None
    assert lacking(found, Aim("equal", 0.0, 0.2)) == f"{near - 3} more seeds"


@pytest.mark.parametrize(
    ("value", "aim", "held"),
    [
        (0.0, ABOVE, False),
        (0.1, ABOVE, True),
        (-5.0, Aim("above", -4.0), False),
        (1.2, Aim("below", 1.25), True),
        (0.95, Aim("equal", 1.0, 0.05), True),
        (0.93, Aim("equal", 1.0, 0.05), False),
        (0.0, Aim("unequal"), False),
    ],
)
def test_the_paper_s_means_are_compared_without_interval(
    value: float, aim: Aim, held: bool
) -> None:
    assert holds(value, aim) == ("holds" if held else "does not hold")


def test_holm_is_the_textbook_s() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_follow_the_intervals_of_images_and_rounds_have_none() -> None:
    half = 1.959963984540054
    images = Found(half, Interval(0.0, 2 * half), basis="images")
    assert p_value(images, ABOVE) == pytest.approx(0.05)
    assert p_value(images, Aim("above", half)) == pytest.approx(1.0)
    assert p_value(images._replace(basis="rounds"), ABOVE) is None
    assert p_value(Found(1.0), ABOVE) is None


def test_equality_has_the_p_value_of_two_one_sided_tests() -> None:
    values, aim = [0.2, -0.1, 0.4, 0.3], Aim("equal", 0.1, 0.5)
    found = paired(values)
    expected = max(
        stats.ttest_1samp(values, 0.1 - 0.5, alternative="greater").pvalue,
        stats.ttest_1samp(values, 0.1 + 0.5, alternative="less").pvalue,
    )
    assert p_value(found, aim) == pytest.approx(2 * expected)
    assert found.interval is not None
    # The margin at which an end of the interval lies on it.
    edge = max(abs(end - 0.1) for end in found.interval)
    assert p_value(found, Aim("equal", 0.1, edge)) == pytest.approx(0.05)
    assert p_value(found, Aim("equal", 0.1, 0.01)) == 1.0
    assert p_value(paired([0.2, 0.2]), aim) == 0.0
    images = Found(0.0, Interval(-1.959963984540054, 1.959963984540054), basis="images")
    assert p_value(images, Aim("equal", 0.0, 1.959963984540054)) == pytest.approx(0.05)


def test_a_claim_is_as_good_as_its_worst_cell() -> None:
    assert overall([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert overall([REPRODUCED, NOT_RUN]) == REPRODUCED and overall([NOT_RUN]) == NOT_RUN
    assert overall([REPRODUCED, NOT_RUN, UNDECIDED]) == UNDECIDED
    assert overall([UNDECIDED, CONTRARY, NOT_RUN]) == CONTRARY
    assert overall([TESTED]) == TESTED
