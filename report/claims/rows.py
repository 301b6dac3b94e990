"""Claims: which rows decide them, sorted into cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import pandas as pd

from report.cells import by_seed
from report.claims.model import Claim, Comparison, Filter, Term
from report.results import select
from report.rows import KEY_COLUMNS

ENDS = ("low", "high")
# What a claim is judged by when it does not say for which protocols it wants rows.
_PROTOCOLS = ("paper",)

Key = tuple[str, ...]


class Number(NamedTuple):
    """One row's number.

    Attributes:
        value: The number.
        low: Lower end of its interval, NaN without one.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    def over(self, base: Number) -> Number:
        """Divide it.

        Args:
            base: What by; its interval does not count.

        Returns:
            The quotient.
        """
        return Number(*(end / base.value for end in self))


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Put the ends of intervals, which have rows of their own, beside their numbers.

    Args:
        rows: Our rows.

    Returns:
        The rows with the further columns `ENDS`, NaN where a number has no interval.
    """
    key = list(KEY_COLUMNS)
    for end in ENDS:
        part = rows[rows["metric"].str.endswith(f"_{end}")]
        part = part.assign(
            metric=part["metric"].str.removesuffix(f"_{end}"), **{end: part["value"]}
        )
        rows = rows.merge(part[[*key, end]], on=key, how="left")
    return rows


def _matching(rows: pd.DataFrame, filters: Filter) -> pd.DataFrame:
    return select(rows, **{name: texts for name, texts in filters.items() if texts})


def claim_rows(rows: pd.DataFrame, claim: Claim, scale: str, metric: str = "") -> pd.DataFrame:
    """Select the rows that a claim is about.

    Args:
        rows: Our rows, as `with_intervals` returns them.
        claim: The claim.
        scale: Their scale.
        metric: Another metric than the claim's.

    Returns:
        The rows; those with a `variant` that the claim does not name are left out.
    """
    changed: Filter = {"metric": (metric,)} if metric else {}
    rows = select(rows, task=claim.tasks, scale=scale)
    rows = _matching(rows, {**claim.filters, **changed})
    if claim.alternatives:
        parts = [_matching(rows, {**each, **changed}).index for each in claim.alternatives]
        rows = rows[rows.index.isin([place for part in parts for place in part])]
    for column, texts in claim.excluded.items():
        rows = rows[~rows[column].isin(texts)]
    return rows[rows["variant"].isin(named_variants(claim))]


def named_variants(claim: Claim) -> set[str]:
    """List the texts of `variant` that a claim names, which are the ones that count.

    Args:
        claim: The claim.

    Returns:
        The texts; the empty one alone where it names none.
    """
    filters = [claim.filters, *claim.alternatives]
    for comparison in claim.comparisons:
        filters += [comparison.filters, *(term.rows for term in comparison.terms)]
    return {text for each in filters for text in each.get("variant", ())} or {""}


def departures(rows: pd.DataFrame, claim: Claim, scale: str) -> dict[str, int]:
    """Count the rows that a claim would be about but for their `variant`.

    Args:
        rows: Our rows, as `with_intervals` returns them.
        claim: The claim.
        scale: Their scale.

    Returns:
        Text of `variant` to the number of rows left out.
    """
    without = [{k: v for k, v in each.items() if k != "variant"} for each in claim.alternatives]
    filters = {k: v for k, v in claim.filters.items() if k != "variant"}
    every: Filter = {"variant": tuple(set(rows["variant"]))}
    open_claim = claim._replace(filters={**filters, **every}, alternatives=tuple(without))
    left = claim_rows(rows, open_claim, scale)
    methods = {
        text
        for each in claim.comparisons
        for term in each.terms
        for text in term.rows.get("method", ())
    }
    left = left[left["method"].isin(methods)] if methods else left
    counts = left[~left["variant"].isin(named_variants(claim))]["variant"].value_counts()
    return {str(text): int(count) for text, count in counts.items()}


def columns_of(claim: Claim) -> tuple[str, ...]:
    """List the columns that make cells.

    Args:
        claim: The claim.

    Returns:
        The protocol, and what the claim names.
    """
    return ("protocol", *claim.per)


def term_rows(
    rows: pd.DataFrame, claim: Claim, comparison: Comparison, term: Term
) -> dict[Key, pd.DataFrame]:
    """Sort the rows of one term into cells.

    Args:
        rows: As `claim_rows` returns them.
        claim: The claim.
        comparison: One of its comparisons.
        term: One of its terms.

    Returns:
        Texts of `columns_of` to the cell's rows.
    """
    own = _matching(rows, {**comparison.filters, **term.rows})
    columns = list(columns_of(claim))
    return {tuple(map(str, key)): cell for key, cell in own.groupby(columns, sort=True)}


def numbers(rows: pd.DataFrame) -> dict[str, Number]:
    """Take the numbers of one term in one cell.

    Args:
        rows: Its rows.

    Returns:
        Seed to number.

    Raises:
        ValueError: Two rows have the same seed.
    """
    by_seed(rows)
    columns = (rows[name] for name in ("seed", "value", *ENDS))
    return {str(seed): Number(*map(float, ends)) for seed, *ends in zip(*columns, strict=True)}


def known_columns(claim: Claim, comparison: Comparison) -> list[str]:
    """List the columns whose cells are known without looking at rows.

    Args:
        claim: The claim.
        comparison: One of its comparisons.

    Returns:
        Those of `per` that have texts in filters, alternatives or `expect`.
    """
    return [
        column
        for column in claim.per
        if column in {**claim.expected, **claim.filters, **comparison.filters}
        or any(column in each for each in claim.alternatives)
    ]


def expected_cells(claim: Claim, comparison: Comparison) -> Iterator[Mapping[str, str]]:
    """List the cells that are missing where there are no rows.

    Args:
        claim: The claim.
        comparison: One of its comparisons.

    Yields:
        Column to text: the protocol, and `known_columns`.
    """
    for each in claim.alternatives or ({},):
        texts = {**claim.expected, **claim.filters, **each, **comparison.filters}
        texts = {"protocol": _PROTOCOLS, **texts}
        columns = ["protocol", *known_columns(claim, comparison)]
        if not _compatible(each, comparison.filters):
            continue
        for cell in product(*(texts[column] for column in columns)):
            labels = dict(zip(columns, cell, strict=True))
            if not any(labels.get(column) in out for column, out in claim.excluded.items()):
                yield labels


def _compatible(first: Filter, second: Filter) -> bool:
    return all(set(first[name]) & set(texts) for name, texts in second.items() if name in first)
