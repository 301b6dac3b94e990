"""Claims: what a claim of the paper consists of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.frame.rows import SCALES
from report.claims.statistics import Aim

Filter = Mapping[str, tuple[str, ...]]

NOTHING: Mapping[str, Any] = MappingProxyType({})
KINDS = ("order", "contrast", "equal", "unequal", "bound", "test")


class Choice(NamedTuple):
    """A text or number, the same for all cells or by the text of one column.

    Attributes:
        column: The column; empty where there is one for all.
        values: Text of the column to the choice; under the empty text the one for all.
    """

    column: str
    values: Mapping[str, Any]

    def of(self, labels: Mapping[str, str]) -> Any:
        """The choice for a cell; None where the file has none for its text."""
        return self.values.get(labels.get(self.column, "") if self.column else "")


class Term(NamedTuple):
    """One of the numbers that a comparison adds up, with its weight and its rows."""

    weight: float
    rows: Filter
    paper: Filter


class Comparison(NamedTuple):
    """What decides a claim in one cell: a weighted sum of terms.

    `filters` come on top of the claim's; `side` and `level` are as in `Aim`.
    """

    name: str
    terms: tuple[Term, ...]
    filters: Filter
    side: str
    level: float


class Paper(NamedTuple):
    """Where the paper's own numbers are.

    Attributes:
        artefacts: Names of tables and figures, as its rows have them; none where it prints none.
        filters: Filters that replace those of the claim.
        names: Column to the paper's text to ours.
        over: The rows that all others are divided by; empty for none.
        times: Factor to our unit.
    """

    artefacts: tuple[str, ...] = ()
    filters: Filter = NOTHING
    names: Mapping[str, Mapping[str, str]] = NOTHING
    over: Filter = NOTHING
    times: float = 1.0


class Claim(NamedTuple):
    """A claim of the paper.

    Attributes:
        tasks: Whose rows decide.
        comparisons: What decides it, in every cell.
        per: Columns that make cells.
        alternatives: Further filters of which one must match; none for no more.
        excluded: Columns and texts that leave a row out.
        expected: Column to the texts of cells that count as missing without rows.
        margin: Largest difference that is none; of a bound the tolerance.
        interval: A metric that holds the difference to equitune with its interval; empty for none.
        unpaired: Whether intervals of both sides may be joined where there is one seed.
        unit: What those are over.
        over: The rows that all others are divided by; empty for none.
        stands_for: Our model to the paper's whose numbers are shown beside.
        scales: Scales at which it is judged.
    """

    id: str
    statement: str
    place: str
    tasks: tuple[str, ...]
    kind: str
    comparisons: tuple[Comparison, ...] = ()
    per: tuple[str, ...] = ()
    filters: Filter = NOTHING
    alternatives: tuple[Filter, ...] = ()
    excluded: Filter = NOTHING
    expected: Filter = NOTHING
    margin: Choice = Choice("", {"": 0.0})
    interval: str = ""
    unpaired: bool = False
    unit: str = "images"
    over: Filter = NOTHING
    stands_for: Mapping[str, str] = NOTHING
    paper: Paper = Paper()
    command: Choice = Choice("", {"": ""})
    tests: tuple[str, ...] = ()
    scales: tuple[str, ...] = SCALES
    note: str = ""

    def aim(self, comparison: Comparison, labels: Mapping[str, str]) -> Aim:
        """Side, level and margin of what is claimed of a cell."""
        return Aim(comparison.side, comparison.level, float(self.margin.of(labels) or 0.0))
