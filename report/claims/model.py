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
        """Choose.

        Args:
            labels: Column to text, of a cell.

        Returns:
            The choice; None where the file has none for this text.
        """
        return self.values.get(labels.get(self.column, "") if self.column else "")


class Term(NamedTuple):
    """One of the numbers that a comparison adds up.

    Attributes:
        weight: What it is multiplied by.
        rows: Which rows have it.
        paper: Which rows of the paper have it.
    """

    weight: float
    rows: Filter
    paper: Filter


class Comparison(NamedTuple):
    """What decides a claim in one cell.

    Attributes:
        name: Its name.
        terms: The numbers whose weighted sum is compared.
        filters: Further filters on rows.
        side: As in `Aim`.
        level: As in `Aim`.
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
        id: Its name.
        statement: What it says.
        place: Where in the paper.
        tasks: Whose rows decide.
        kind: One of `KINDS`.
        comparisons: What decides it, in every cell.
        per: Columns that make cells.
        filters: Filters on rows.
        alternatives: Further filters of which one must match; none for no more.
        excluded: Columns and texts that leave a row out.
        expected: Column to the texts of cells that count as missing without rows.
        margin: Largest difference that is none; of a bound the tolerance.
        interval: A metric that holds the difference to equitune with its interval; empty for none.
        unpaired: Whether intervals of both sides may be joined where there is one seed.
        unit: What those are over.
        over: The rows that all others are divided by; empty for none.
        stands_for: Our model to the paper's whose numbers are shown beside.
        paper: The paper's numbers.
        command: What makes missing rows.
        tests: Names of tests.
        scales: Scales at which it is judged.
        note: What a reader must know.
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
        """Say what is claimed of a cell.

        Args:
            comparison: One of its comparisons.
            labels: Column to text, of the cell.

        Returns:
            Side, level and margin.
        """
        return Aim(comparison.side, comparison.level, float(self.margin.of(labels) or 0.0))
