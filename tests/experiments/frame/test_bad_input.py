"""Wrong command lines that nobody thought of: a small sample of `benchmarks/bad_input.py`."""

from __future__ import annotations

import pytest

from benchmarks._bad_cases import Case, cases
from benchmarks.bad_input import LATE, LIMIT, PATIENCE, Outcome, attempt, table


@pytest.mark.parametrize("case", cases(16, seed=1), ids=lambda case: " ".join(case.words)[:60])
def test_a_wrong_command_line_is_refused_in_one_line(case: Case) -> None:
    outcome = attempt(case)
    # The machine of the tests is busy: the time is the benchmark's to judge.
    assert not set(outcome.faults) - {"slow"}, outcome.output
    assert outcome.seconds < (LATE if case.late else PATIENCE)


def test_cases_are_seeded_and_differ() -> None:
    assert cases(40, seed=3) == cases(40, seed=3) != cases(40, seed=4)
    drawn = cases(200, seed=0)
    assert len(set(drawn)) == 200 and len({case.kind for case in drawn}) == 16


def test_the_table_names_what_was_not_refused() -> None:
    good = Outcome(Case("path", ("results=",)), 0.5, (), "run.py: no\n")
    bad = Outcome(Case("path", ("seed=1",)), LIMIT + 1, ("not refused", "slow"), "")
    lines = table([good, bad]).splitlines()
    assert lines[2] == "| path | 2 | 1 | 4.00 |"
    assert lines[4:] == ["- `seed=1`: not refused, slow", "  `nothing on stderr`"]
