"""Tables as specifications: what names a line, and what each column shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from experiments.frame.methods import METHODS, Kind
from report.aggregate import Labels, Numbers, Papers
from report.cells import (
    DAGGER,
    EN_DASH,
    MISSING,
    SPREAD_NOTES,
    Number,
    format_counts,
    format_summary,
    span,
)
from report.options import Options
from report.presets import command
from report.results import SELECTED
from report.rows import KEY_COLUMNS
from report.tables import Block, ColumnGroup, Table

_MIXED = (
    "n differs: each mean is over all seeds of its row, and a difference over the seeds that both "
    "of its sides have, so that it may not be the difference of the two means"
)
UNITS = "Accuracy in percent, mean (spread) over n seeds"


@dataclass(frozen=True)
class Line:
    """One line of a table: its labels, and the numbers that it may show.

    Attributes:
        reported: The paper's rows that may stand beside ours.
    """

    labels: Labels
    numbers: Numbers
    reported: Papers | None = None

    def find(self, **changed: Any) -> Number | None:
        """The number with the line's labels, some of them changed."""
        return self.numbers.find(**{**self.labels, **changed})

    def along(self) -> dict[int, Number]:
        """The numbers along the steps of a training."""
        return self.numbers.along("iteration", **self.labels)

    def paper(self, **wanted: str) -> tuple[float, float] | None:
        """The mean and the spread (NaN for none) of the paper's row with some labels."""
        return None if self.reported is None else self.reported.find(**wanted)


@dataclass(frozen=True)
class Column:
    """A column: its header, and the text of a line's cell."""

    header: str
    show: Callable[[Line], str]


def shown(
    header: str,
    form: Callable[[Number | None], str] = format_summary,
    unless: Callable[[Line], bool] = lambda line: False,
    /,
    **changed: Any,
) -> Column:
    """A column with one number of each line, with a dash where it would say nothing."""
    return Column(header, lambda line: EN_DASH if unless(line) else form(line.find(**changed)))


def is_mean(line: Line) -> bool:
    """Whether a line is of the mean over views, which the others are compared with."""
    return METHODS[line.labels["method"]].kind is Kind.MEAN


def seeds(*changed: Labels) -> Column:
    """A column with the number of seeds of other columns; where they differ all in order."""
    return Column("n", lambda line: format_counts([line.find(**each) for each in changed]))


def selected_step(header: str, metric: str) -> Column:
    """A column with the least and the greatest step that runs report, which a metric tells."""

    def show(line: Line) -> str:
        found = line.numbers.values(**{**line.labels, **SELECTED, "metric": metric})
        return span(map(int, found.values())) or MISSING

    return Column(header, show)


def seeds_along(*further: Labels) -> Column:
    """A column with the least and the greatest number of seeds along steps, and of others."""

    def show(line: Line) -> str:
        found = [*line.along().values(), *(line.find(**each) for each in further)]
        return span(number.seeds for number in found if number) or "0"

    return Column("n", show)


@dataclass(frozen=True)
class Spec:
    """What a table shows.

    Attributes:
        block: The labels of a block, in order.
        stub: The labels of a line, in order.
        columns: Title of each group, to its columns.
        units: The first note.
        fixed: Further labels of each line that is found.
        keep: Whether a line that is found is shown.
        orders: Label to its texts in the order of lines; others follow by name.
        titles: Header of a label that rows name otherwise; in a block its empty text is "none".
            That of `departure` is "variant".
        texts: How a label of a line is shown, if not as it is.
        notes: Further notes.
        empty: A note for a table without blocks.
        preset: The experiment that makes its rows, where the label `preset` of a line names no
            other; default: the table's name.
        words: What its commands for missing cells may name, in order; default: the block's labels.
        together: The labels of lines that one command makes; default: the block's.
        made: Whether a command makes a line; default: not one with a label `departure`, which
            nobody but its author knows how to complete.
        lacks: Whether a line lacks numbers; default: if one of its cells is missing.
        commands: Makes its commands from the labels of the lines that miss something, where one
            preset and one command per block do not say it.
    """

    name: str
    title: str
    block: tuple[str, ...]
    stub: tuple[str, ...]
    columns: Mapping[str, Sequence[Column]]
    units: str
    fixed: Labels = field(default_factory=dict)
    keep: Callable[[Labels], bool] = lambda labels: True
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    titles: Labels = field(default_factory=dict)
    texts: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    empty: str = ""
    preset: str = ""
    words: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    made: Callable[[Labels], bool] = lambda labels: not labels.get("departure")
    lacks: Callable[[Line], bool] | None = None
    commands: Callable[[Sequence[Labels]], Iterable[str]] | None = None
    with_spread: bool = True

    def sorted(self, lines: Iterable[Labels]) -> list[dict[str, str]]:
        """Different lines, by their labels in turn."""
        orders = {"method": [*METHODS], **self.orders}

        def rank(labels: Labels) -> list[tuple[int, str]]:
            known = ((orders.get(name, ()), text) for name, text in labels.items())
            return [(o.index(text) if text in o else len(o), text) for o, text in known]

        different = {tuple(labels.items()): dict(labels) for labels in lines}
        return sorted(different.values(), key=rank)

    def find(self, numbers: Numbers) -> list[dict[str, str]]:
        """The labels of the lines with numbers, in order."""
        found = self.sorted(numbers.labels(*self.block, *self.stub))
        return [{**labels, **self.fixed} for labels in found if self.keep(labels)]

    def build(
        self,
        numbers: Numbers,
        options: Options,
        lines: Iterable[Labels] | None = None,
        reported: pd.DataFrame | Papers | None = None,
        extra: Callable[[pd.DataFrame], Sequence[str]] = lambda rows: (),
    ) -> Table:
        """The table: lines that share the labels of a block stand together, in order.

        Args:
            numbers: Ours.
            options: The user's choices.
            lines: The labels of all lines, with numbers or without; default: those of `find`.
            reported: The paper's rows that may stand beside ours.
            extra: Further notes, given the rows that are shown.
        """
        blocks: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        missing: dict[tuple[str, ...], list[Labels]] = {}
        papers = Papers(reported) if isinstance(reported, pd.DataFrame) else reported
        for labels in self.find(numbers) if lines is None else lines:
            line, key = Line(labels, numbers, papers), tuple(labels[name] for name in self.block)
            cells = [self.texts.get(name, str)(labels[name]) for name in self.stub]
            cells += [column.show(line) for own in self.columns.values() for column in own]
            blocks.setdefault(key, []).append(tuple(cells))
            lacks = MISSING in cells if self.lacks is None else self.lacks(line)
            if lacks and self.made(labels):
                asked = tuple(labels[name] for name in self.together or self.block)
                missing.setdefault(asked, []).append(labels)
        made = [Block(self._named(key), tuple(own)) for key, own in blocks.items()]
        rows = numbers.used
        found = _notes(rows, made, options, self.units, self.with_spread)
        empty = (self.empty,) if self.empty and not made else ()
        headers = [column.header for own in self.columns.values() for column in own]
        mixed = [_MIXED] * any(_is_mixed(block, headers, len(self.stub)) for block in made)
        return Table(
            name=self.name,
            title=self.title,
            stub=tuple(self._titles.get(name, name) for name in self.stub),
            groups=tuple(
                ColumnGroup(title, tuple(column.header for column in own))
                for title, own in self.columns.items()
            ),
            blocks=tuple(made),
            notes=(*found, *mixed, *self.notes, *extra(rows), *empty),
            commands=self._commands([*missing.values()], made, options),
        )

    @property
    def _titles(self) -> Labels:
        return {"departure": "variant", **self.titles}

    def _named(self, key: tuple[str, ...]) -> dict[str, str]:
        """The labels of a block as they are shown."""
        pairs = zip(self.block, key, strict=True)
        return {
            self._titles.get(name, name): text or "none" if name in self._titles else text
            for name, text in pairs
        }

    def _commands(
        self, missing: list[list[Labels]], blocks: Sequence[Block], options: Options
    ) -> tuple[str, ...]:
        """One command per block with a missing cell, and one per scale without a block."""
        if self.commands is not None:
            return tuple(dict.fromkeys(self.commands([line for own in missing for line in own])))
        preset, words = self.preset or self.name, self.words or self.block
        there = {block.labels.get("scale") for block in blocks}
        absent = [scale for scale in options.scales if "scale" in self.block and scale not in there]
        found = [
            (own[0]["scale"], command(own[0].get("preset", preset), own, words)) for own in missing
        ]
        found += [(scale, command(preset, [{"scale": scale}], ["scale"])) for scale in absent]
        found.sort(key=lambda each: options.scales.index(each[0]))
        return tuple(dict.fromkeys(text for _, text in found))


def _is_mixed(block: Block, headers: Sequence[str], stub: int) -> bool:
    """Whether a block has differences, and numbers over different seeds."""
    places = [stub + place for place, header in enumerate(headers) if header == "n"]
    texts = {text for row in block.rows for place in places for text in row[place].split("/")}
    signed = any(text.startswith("+") for row in block.rows for text in row[stub:])
    return signed and len(texts - {"0", MISSING, EN_DASH}) > 1


def _notes(
    rows: pd.DataFrame, blocks: Sequence[Block], options: Options, units: str, with_spread: bool
) -> Iterator[str]:
    """Yield how to read a table: units, spread, single seeds, demo rows, daggers, fresh rows."""
    cell = [column for column in KEY_COLUMNS if column != "seed"]
    seeds = rows.groupby(cell)["seed"].count()
    demo = seeds[seeds.index.get_level_values("scale") == "demo"]
    yield f"{units}; {SPREAD_NOTES[options.spread]}" if with_spread else units
    if with_spread and (seeds == 1).any():
        yield f"({EN_DASH}): n = 1, one seed has no spread"
    if "demo" in options.scales:
        counts = ", ".join(f"n = {count}" for count in sorted(set(demo))) or "no rows"
        yield (
            f"scale = demo, {counts}: fewer seeds or iterations than the paper's, "
            f"so none of its cells is marked"
        )
    if any(DAGGER in text for block in blocks for line in block.rows for text in line):
        yield (
            f"{DAGGER} our mean and the paper's differ by more than the paper's spread plus ours "
            f"(zero where n = 1); a fact about the two numbers, not a verdict"
        )
    fresh = int((rows["origin"] != "measured").sum())
    if fresh:
        replaced = int((rows["origin"] == "replaced").sum())
        yield (
            f"{fresh} row{'s' * (fresh != 1)} from fresh runs, "
            f"{replaced} of them in place of a different committed value"
        )
