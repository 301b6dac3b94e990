"""The rows of an artefact, aggregated once: numbers over seeds, by what tells them apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from report.cells import Interval, Number, summarise
from report.options import Spread
from report.results import seed_order
from report.rows import KEY_COLUMNS

#: What names a number or a line: column to text.
Labels = Mapping[str, str]


class Numbers:
    """Numbers over seeds.

    Attributes:
        rows: The rows that they are made of, as `load_results` gives them.
    """

    def __init__(self, rows: pd.DataFrame, by: Sequence[str], spread: Spread = "sample") -> None:
        """Aggregate rows by some columns; rows that agree in these must differ by their seed."""
        self.rows = rows
        self._by, self._spread = tuple(by), spread
        self._cells: dict[tuple[Any, ...], list[int]] = {}
        for place, key in enumerate(self._keys(*by)):
            self._cells.setdefault(key, []).append(place)
        self._seeds, self._values = rows["seed"].tolist(), rows["value"].tolist()
        self._used: set[int] = set()
        self._axes: dict[tuple[Any, ...], list[Any]] = {}
        self._found: dict[tuple[Any, ...], Number | None] = {}
        self._labels: dict[tuple[tuple[str, ...], ...], dict[tuple[Any, ...], list[Any]]] = {}

    @property
    def used(self) -> pd.DataFrame:
        """The rows of all numbers that were asked for."""
        return self.rows.iloc[sorted(self._used)]

    def _keys(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        return zip(*(self.rows[name].tolist() for name in columns), strict=True)

    def labels(self, *columns: str, **wanted: str) -> list[dict[str, str]]:
        """The different labels of the rows, in their order; of those with the wanted texts."""
        known = self._labels.setdefault((columns, (*wanted,)), {})
        if not known:
            for key in dict.fromkeys(self._keys(*columns, *wanted)):
                known.setdefault(key[len(columns) :], []).append(key[: len(columns)])
        return [dict(zip(columns, key, strict=True)) for key in known.get((*wanted.values(),), ())]

    def values(self, **labels: Any) -> dict[str, float]:
        """Seed to value of one number, 2 before 10; empty without rows.

        Two rows of the same seed are a ValueError: a mean over seeds would count it twice.
        """
        places = self._cells.get(tuple(labels[name] for name in self._by), ())
        self._used.update(places)
        seeds = {self._seeds[place]: self._values[place] for place in places}
        if len(seeds) < len(places):
            own = self.rows.iloc[[*places]]
            twice = own[own["seed"] == own["seed"][own["seed"].duplicated()].iloc[0]]
            odd = [name for name in KEY_COLUMNS if twice[name].nunique() > 1]
            told = "; ".join(f"{name}: {', '.join(map(repr, twice[name]))}" for name in odd)
            told = f" (they differ in {told})" if told else ""
            raise ValueError(
                f"{twice['where'].iloc[1]}: a second row for seed {twice['seed'].iloc[1]!r} in a "
                f"cell{told}; move all but one of these away: {', '.join(twice['where'])}"
            )
        return {seed: seeds[seed] for seed in sorted(seeds, key=seed_order)}

    def find(self, **labels: Any) -> Number | None:
        """One number; None without rows.

        Its interval, over images or sentences, is the mean of those of its seeds, if they have any.
        """
        key = tuple(labels[name] for name in self._by)
        if key not in self._found:
            self._found[key] = self._find(labels)
        return self._found[key]

    def _find(self, labels: Labels) -> Number | None:
        found = self.over(self.values(**labels))
        if found is None or "metric" not in self._by:
            return found
        low, high = (
            self.over(self.values(**{**labels, "metric": labels["metric"] + end}))
            for end in ("_low", "_high")
        )
        return found._replace(interval=Interval(low.mean, high.mean) if low and high else None)

    def over(self, values: Mapping[str, float]) -> Number | None:
        """The mean over seeds of other values, such as differences; None without any."""
        return summarise([*values.values()], self._spread)

    def along(self, axis: str, **labels: str) -> dict[int, Number]:
        """The numbers along a column of whole numbers, in order."""
        others = [name for name in self._by if name != axis]
        if not self._axes:
            at = self._by.index(axis)
            for key in self._cells:
                self._axes.setdefault((*key[:at], *key[at + 1 :]), []).append(key[at])
        points = sorted(self._axes.get(tuple(labels[name] for name in others), ()))
        found = {point: self.find(**{**labels, axis: point}) for point in points}
        return {point: number for point, number in found.items() if number is not None}

    def panels(
        self,
        lines: Iterable[Labels],
        panel: Sequence[str],
        curve: Sequence[str],
        axis: str,
    ) -> dict[tuple[str, ...], dict[tuple[str, ...], dict[int, Number]]]:
        """The numbers along a column for the labels of each line.

        Of these labels some name a panel and some its curve, which is absent without rows.
        """
        found: dict[tuple[str, ...], dict[tuple[str, ...], dict[int, Number]]] = {}
        for line in lines:
            own = found.setdefault(tuple(line[name] for name in panel), {})
            if points := self.along(axis, **line):
                own[tuple(line[name] for name in curve)] = points
        return found


class Papers:
    """The paper's numbers, by any of their labels."""

    def __init__(self, rows: pd.DataFrame) -> None:
        """Take the rows that count, as `load_results` gives them."""
        self._rows = rows
        self._found: dict[tuple[str, ...], dict[tuple[str, ...], tuple[float, float]]] = {}

    def find(self, **wanted: str) -> tuple[float, float] | None:
        """The mean and the spread (NaN for none) of the first row with some labels."""
        names = (*wanted,)
        if names not in self._found:
            columns = [self._rows[name].tolist() for name in (*names, "value", "std")]
            lines = [*zip(*columns, strict=True)]
            # Of several rows the first counts: it is written last.
            self._found[names] = {line[:-2]: line[-2:] for line in reversed(lines)}
        return self._found[names].get((*wanted.values(),))
