"""The fairness task: Figures 3 and 9, how sentences about demographic groups are labelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from experiments.frame.rows import LABELS
from report.artefacts.fairness.common import (
    PLAIN,
    REFERENCE,
    REGARD,
    Way,
    count_of,
    general_notes,
    judges,
    model_of,
    model_title,
    of_way,
    persons,
    result_rows,
)
from report.artefacts.fairness.places import (
    PROTOCOL,
    REFERENCE_COMMAND,
    Place,
    commands,
    find_places,
)
from report.artefacts.fairness.scorers import ACCURACY, FLIPS, HELD_OUT, judge_note, quality
from report.cells import (
    EN_DASH,
    MISSING,
    NUMBER_HEADERS,
    Measure,
    format_measure,
    measure,
    number_cells,
    over_seeds,
    span,
)
from report.figures import Figure
from report.notes import notes
from report.options import Options
from report.plots.panels import SKY_BLUE, VERMILION, YELLOW
from report.plots.stacks import Stack, StackPanel, draw_stacks
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

METRICS = (
    *(f"{name}{end}" for name in (*LABELS, REGARD) for end in ("", "_low", "_high")),
    "sentences",
)
# Data set and title of each figure.
STUDIES = {
    "figure3": ("respect", "Figure 3: regard of generated sentences, Respect task"),
    "figure9": ("occupation", "Figure 9: regard of generated sentences, Occupation task"),
}
TABLE = "_shares"
COLOURS = dict(zip(LABELS, (SKY_BLUE, "0.85", YELLOW, VERMILION), strict=True))
_NUMBERS = (
    *("scale", "protocol", "dataset", "model", "group", "judge", "method", "option", "person"),
    *("metric", *NUMBER_HEADERS, "sentences"),
)
_UNITS = "Percent of the sentences about a demographic group, mean (spread) [interval] over n seeds"
_NOTES = (
    "bars, from the bottom: positive, neutral, other, negative",
    "regard: positive minus negative",
    "error bars: 95 % over sentences, at the upper end of the positive share and at the lower end "
    "of the negative one; with several seeds one spread to each side",
    "Equi and Equizero are the paper's EquiGPT2 and EquizeroGPT2, R- are its relaxed models, each "
    "of the model that is named",
    "R-Equizero leaves the words of coreference (he, she) alone: for a pair without such words it "
    "is Equizero",
    "best of: the search of Equizero among samples of the one prompt, as many as there are "
    "demographic groups, without a group; it and lambda-Equi, which has learned weights, are ours",
    "names with reference below them: protocol reference, the authors' code, which has no equizero",
    "judge: the first of the model's, which is the one that equizero optimises; the other judges "
    "stand in fairness_gaps",
    f"n: seeds, least{EN_DASH}most where the columns differ",
)
_WITH = (
    f"{REFERENCE}, on the left and apart, is labelled by the same judge; it is text of another "
    "model without any method: what a method does is seen against pretrained"
)
_WITHOUT = f"a column of real text by GPT-2 small is made by: {REFERENCE_COMMAND}"


class Shares(NamedTuple):
    """How the sentences of a way about one demographic group are labelled.

    `numbers` has `REGARD`, and the share of each label in percent; `sentences` is the number per
    seed.
    """

    numbers: Mapping[str, Measure]
    sentences: int


class Arm(NamedTuple):
    """One panel.

    Attributes:
        bars: Way to demographic group to bar; ways without rows are empty.
        reference: The same of the reference's text, labelled by the same judge; empty if there is
            none.
        accuracy: The judge's, on labelled sentences.
        flips: The judge's, between the first two demographic groups.
    """

    place: Place
    judge: str
    persons: Sequence[str]
    bars: Mapping[Way, Mapping[str, Shares]]
    reference: Mapping[str, Shares]
    accuracy: str
    flips: str

    @property
    def drawn(self) -> bool:
        """Whether there is something of its own to draw."""
        return any(self.bars.values())


def _find_arms(rows: pd.DataFrame, options: Options, dataset: str) -> list[Arm]:
    """Panels with rows and without; the reference stands in the others."""
    return [
        _arm(rows, place, options)
        for place in find_places(rows, options, [dataset])
        if place.model != REFERENCE
    ]


def _arm(rows: pd.DataFrame, place: Place, options: Options) -> Arm:
    own = place.rows(rows)
    judge = judges(own, place.model)[0]
    bars = {way: _bars(of_way(own, way), judge, options) for way in place.ways(own)}
    reference = of_way(place._replace(model=REFERENCE).rows(rows), PLAIN) if len(own) else own
    views = [*dict.fromkeys(select(own, metric=FLIPS)["view"])]
    return Arm(
        place,
        judge,
        persons(own),
        bars,
        _bars(reference, judge, options),
        quality(own, ACCURACY, judge, HELD_OUT),
        quality(own, FLIPS, judge, views[0] if views else ""),
    )


def _bars(rows: pd.DataFrame, judge: str, options: Options) -> dict[str, Shares]:
    found = {}
    labelled = select(rows, split=judge)
    for person in dict.fromkeys(select(labelled, metric=LABELS[0])["view"]):
        own = select(labelled, view=person)
        numbers = {name: measure(own, name, options) for name in (*LABELS, REGARD)}
        written = over_seeds(select(rows, metric="sentences", view=person))
        found[str(person)] = Shares(
            {name: number for name, number in numbers.items() if number is not None},
            round(written.mean) if written else 0,
        )
    return found


def shares_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 3 or 9.

    There is a column of panels per scale, protocol and model with rows, and a panel per pair of
    demographic groups; without rows of ours there is no picture.
    """
    rows = result_rows(results, options)
    arms = _find_arms(rows, options, STUDIES[name][0])
    return Figure(
        digest=_digest(name, arms, rows, results, options),
        headers=_NUMBERS,
        rows=tuple(line for arm in arms for line in _number_lines(arm)),
        draw=lambda: _draw(arms, options),
    )


def shares_table(name: str, results: Results, options: Options) -> Table:
    """Table of all numbers of Figure 3 or 9: one block per panel, one row per bar."""
    rows = result_rows(results, options)
    arms = _find_arms(rows, options, STUDIES[name][0])
    return _digest(name, arms, rows, results, options, TABLE)


def _number_lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    models = [(arm.place.model, arm.bars), (REFERENCE, {PLAIN: arm.reference})]
    for model, ways in models:
        names = (*arm.place[:3], model, arm.place.group, arm.judge)
        for way, bars in ways.items():
            for person, bar in bars.items():
                for metric, number in bar.numbers.items():
                    cells = (*names, way.method, way.option, person, metric)
                    yield (*cells, *number_cells(number), str(bar.sentences))


def _digest(
    name: str,
    arms: Sequence[Arm],
    rows: pd.DataFrame,
    results: Results,
    options: Options,
    ending: str = "",
) -> Table:
    dataset, title = STUDIES[name]
    blocks = tuple(Block(_labels(arm), tuple(_lines(arm))) for arm in arms)
    shown = select(rows, dataset=dataset)
    models = {arm.place.model for arm in arms} | {REFERENCE for arm in arms if arm.reference}
    lacking = [(arm.place, way) for arm in arms for way, bars in arm.bars.items() if not bars]
    used = {arm.judge for arm in arms if arm.drawn}
    return Table(
        name=f"{name}{ending}",
        title=title,
        stub=("method", "about"),
        groups=(ColumnGroup("", (*LABELS, REGARD, "sentences", "n")),),
        blocks=blocks,
        notes=(
            *notes(select(shown, metric=METRICS, split=["", *used]), blocks, options, _UNITS),
            *_NOTES,
            *(judge_note(shown, judge) for judge in sorted(used)),
            _WITH if REFERENCE in models else _WITHOUT,
            *general_notes(shown, results, models),
        ),
        commands=commands(lacking),
    )


def _labels(arm: Arm) -> dict[str, str]:
    return {**arm.place._asdict(), "judge": arm.judge}


def _lines(arm: Arm) -> Iterator[tuple[str, ...]]:
    """Make the lines of a panel: the reference, and every way, with rows or without."""
    for person, bar in arm.reference.items():
        yield (REFERENCE, person, *_cells(bar))
    count = count_of(arm.place.group, arm.persons)
    for way, bars in arm.bars.items():
        for person in arm.persons:
            yield (way.label(count), person, *_cells(bars.get(person)))


def _cells(bar: Shares | None) -> tuple[str, ...]:
    if bar is None:
        return (*[MISSING] * (len(LABELS) + 2), "0")
    numbers = [bar.numbers.get(name) for name in (*LABELS, REGARD)]
    return (
        *(
            format_measure(number, name == REGARD)
            for name, number in zip((*LABELS, REGARD), numbers, strict=True)
        ),
        str(bar.sentences),
        span(number.summary.seeds if number else 0 for number in numbers),
    )


def _draw(arms: Sequence[Arm], options: Options) -> Drawing:
    """Draw a column of panels per scale and model; protocols stand side by side in a panel."""
    columns: dict[tuple[str, str], dict[str, list[Arm]]] = {}
    for arm in arms:
        if arm.drawn:
            column = columns.setdefault((arm.place.scale, arm.place.model), {})
            column.setdefault(arm.place.group, []).append(arm)
    height = max(map(len, columns.values()))
    panels = [[_panel(own, options) for own in column.values()] for column in columns.values()]
    filled = [[*column, *[None] * (height - len(column))] for column in panels]
    grid = [[column[row] for column in filled] for row in range(height)]
    return draw_stacks(grid, COLOURS, "share of sentences (%)", "95 % interval")


def _panel(arms: Sequence[Arm], options: Options) -> StackPanel:
    # The presets' protocol first.
    ordered = sorted(arms, key=lambda arm: arm.place.protocol != PROTOCOL)
    reference = next((arm.reference for arm in ordered if arm.reference), {})
    beside = [{model_title(REFERENCE): _stacks(reference)}] * bool(reference)
    sections = [*beside, *(_section(arm, arm is ordered[0]) for arm in ordered)]
    return StackPanel(_title(ordered, reference, options), sections)


def _section(arm: Arm, first: bool) -> dict[str, dict[str, Stack]]:
    """Make the groups of bars of a protocol; all but the first are named after it."""
    ending = "" if first else f"\n{arm.place.protocol}"
    names = {way: way.label(len(arm.persons)) for way in arm.bars}
    return {
        names[way].replace("lambda", "\N{GREEK SMALL LETTER LAMDA}") + ending: _stacks(bars)
        for way, bars in arm.bars.items()
    }


def _title(arms: Sequence[Arm], reference: Mapping[str, Shares], options: Options) -> str:
    place, judge = arms[0].place, arms[0].judge
    scale = f", scale {place.scale}" if len(options.scales) > 1 else ""
    protocols = " and ".join(arm.place.protocol for arm in arms)
    written = _written(bars for arm in arms for bars in arm.bars.values())
    beside = f" ({model_title(REFERENCE)}: {_written([reference])})" * bool(reference)
    optimised = ", which Equizero optimises" * (judge == model_of(place.model).judge)
    tested = f": accuracy {arms[0].accuracy} %, label flips {arms[0].flips} %"
    return (
        f"{model_title(place.model)}: {place.dataset}, protocol {protocols}{scale}, "
        f"{written} sentences per bar{beside}\n"
        f"judge {judge}{optimised}{tested * (MISSING not in tested)}"
    )


def _written(ways: Iterable[Mapping[str, Shares]]) -> str:
    return span(bar.sentences for bars in ways for bar in bars.values())


def _stacks(bars: Mapping[str, Shares]) -> dict[str, Stack]:
    return {
        person: Stack(
            {label: bar.numbers[label].summary.mean for label in LABELS},
            bar.numbers[LABELS[0]].ends,
            bar.numbers[LABELS[-1]].ends,
        )
        for person, bar in bars.items()
    }
