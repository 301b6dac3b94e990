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
    """One row's number, with the ends of its interval (NaN without one)."""

    value: float
    low: float
    high: float

    def over(self, base: Number) -> Number:
        """The quotient; the interval of `base` does not count."""
        return Number(*(end / base.value for end in self))


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns `ENDS`: the ends of intervals, which have rows of their own.

    They are NaN where a number has no interval.
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
    """The rows that a claim is about, of its metric or another.

    Rows whose `variant` the claim does not name are left out.
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
    """The texts of `variant` that count for a claim; the empty one where it names none."""
    filters = [claim.filters, *claim.alternatives]
    for comparison in claim.comparisons:
        filters += [comparison.filters, *(term.rows for term in comparison.terms)]
    return {text for each in filters for text in each.get("variant", ())} or {""}


def departures(rows: pd.DataFrame, claim: Claim, scale: str) -> dict[str, int]:
    """How many rows a claim would be about but for their `variant`, by that text."""
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
    """The columns that make cells: the protocol, and what the claim names."""
    return ("protocol", *claim.per)


def term_rows(
    rows: pd.DataFrame, claim: Claim, comparison: Comparison, term: Term
) -> dict[Key, pd.DataFrame]:
    """The rows of one term by cell, whose key has the texts of `columns_of`."""
    own = _matching(rows, {**comparison.filters, **term.rows})
    columns = list(columns_of(claim))
    return {tuple(map(str, key)): cell for key, cell in own.groupby(columns, sort=True)}


def numbers(rows: pd.DataFrame) -> dict[str, Number]:
    """Seed to number of one term in one cell; two rows of the same seed are a ValueError."""
    by_seed(rows)
    columns = (rows[name] for name in ("seed", "value", *ENDS))
    return {str(seed): Number(*map(float, ends)) for seed, *ends in zip(*columns, strict=True)}


def known_columns(claim: Claim, comparison: Comparison) -> list[str]:
    """The columns of `per` that have texts in filters, alternatives or `expect`.

    The cells of these are known without looking at rows.
    """
    return [
        column
        for column in claim.per
        if column in {**claim.expected, **claim.filters, **comparison.filters}
        or any(column in each for each in claim.alternatives)
    ]


def expected_cells(claim: Claim, comparison: Comparison) -> Iterator[Mapping[str, str]]:
    """The cells that are missing without rows: texts of the protocol and `known_columns`."""
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
