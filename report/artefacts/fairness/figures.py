"""The fairness task: Figures 3 and 9, how sentences about demographic groups are labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from experiments.frame.methods import PRETRAINED
from experiments.frame.rows import LABELS
from report.aggregate import Labels, Numbers
from report.artefacts.fairness import common
from report.artefacts.fairness.common import ACCURACY, FLIPS, HELD_OUT, PROTOCOL, REFERENCE, REGARD
from report.cells import (
    EN_DASH,
    MISSING,
    NUMBER_HEADERS,
    Number,
    format_measure,
    number_cells,
    span,
)
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.panels import SKY_BLUE, VERMILION, YELLOW, arrange, spread_errors
from report.plots.stacks import Stack, StackPanel, draw_stacks
from report.results import Results
from report.spec import Column, Line, Spec, shown
from report.tables import Table

# Data set and title of each figure.
STUDIES = {
    "figure3": ("respect", "Figure 3: regard of generated sentences, Respect task"),
    "figure9": ("occupation", "Figure 9: regard of generated sentences, Occupation task"),
}
COLOURS = dict(zip(LABELS, (SKY_BLUE, "0.85", YELLOW, VERMILION), strict=True))
_BAR = (*common.PLACE, "split", "method", "option", "view")
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
_WITHOUT = f"a column of real text by GPT-2 small is made by: {common.REFERENCE_COMMAND}"


def shares_figure(name: str, results: Results, options: Options) -> Figure:
    """Figure 3 or 9.

    There is a column of panels per scale and model with rows, and a panel per pair of demographic
    groups, in which protocols stand side by side; without rows of ours there is no picture.
    """
    dataset, title = STUDIES[name]
    numbers = common.result_numbers(results, options)
    found = common.places(numbers, options, [dataset])
    panels = [[*_bars(numbers, place)] for place in found if place["model"] != REFERENCE]
    bars = [bar for panel in panels for bar in panel]
    known = common.qualities(common.tests_of_judges(numbers), dataset=dataset)
    judges = sorted({bar.labels["split"] for bar in bars if _ours(bar) and _shares(bar)})
    spec = Spec(
        name=name,
        title=title,
        block=("scale", "protocol", "dataset", "beside", "group", "split"),
        stub=("way", "view"),
        columns={
            "": (
                *(shown(label, format_measure, metric=label) for label in LABELS),
                shown(REGARD, partial(format_measure, signed=True), metric=REGARD),
                Column("sentences", lambda bar: str(_sentences(bar)) if _shares(bar) else MISSING),
                Column("n", lambda bar: span(n.seeds if n else 0 for n in _found(bar).values())),
            )
        },
        titles={"beside": "model", "split": "judge", "way": "method", "view": "about"},
        units=common.UNITS,
        notes=(
            *_NOTES,
            *(_judge_note(judge, known) for judge in judges),
            _WITHOUT if all(map(_ours, bars)) else _WITH,
        ),
        commands=common.commands,
    )
    models = {bar.labels["model"] for bar in bars}
    general = partial(common.general_notes, results, models)
    names = {"split": "judge", "view": "person"}
    return Figure(
        digest=spec.build(numbers, options, [bar.labels for bar in bars], extra=general),
        headers=(*(names.get(own, own) for own in _BAR), "metric", *NUMBER_HEADERS, "sentences"),
        rows=tuple(row for panel in panels for row in _number_rows(panel)),
        draw=lambda: _draw(panels, options),
    )


def shares_table(name: str, results: Results, options: Options) -> Table:
    """Table of all numbers of Figure 3 or 9: one block per panel, one row per bar."""
    return replace(shares_figure(name, results, options).digest, name=f"{name}_shares")


def _bars(numbers: Numbers, place: Labels) -> Iterator[Line]:
    """List the bars of a panel and protocol, with rows or without; real text stands first.

    Its label `beside` is the panel's model, `model` its own.
    """
    panel = {**place, "beside": place["model"], "split": common.judges(numbers, place)[0]}
    text = {**panel, "model": REFERENCE, "method": PRETRAINED, "option": ""}
    own = {name: text[name] for name in (*common.PLACE, "method", "option", "split")}
    if numbers.labels("model", **place):
        for person in common.views(numbers, LABELS[0], **own):
            yield Line(text | {"way": REFERENCE, "view": person}, numbers)
    persons = common.views(numbers, "sentences", **place) or [common.EACH]
    for way, person in product(common.ways(numbers, place), persons):
        yield Line(panel | way | {"view": person}, numbers)


def _ours(bar: Line) -> bool:
    return bar.labels["model"] != REFERENCE


def _found(bar: Line) -> dict[str, Number | None]:
    """Find the share of each label, and the regard, in percent."""
    return {name: bar.find(metric=name) for name in (*LABELS, REGARD)}


def _shares(bar: Line) -> dict[str, Number]:
    """Find those with rows."""
    return {name: number for name, number in _found(bar).items() if number is not None}


def _sentences(bar: Line) -> int:
    """Find the number of sentences per seed."""
    written = bar.find(metric="sentences", split="")
    return round(written.mean) if written else 0


def _number_rows(panel: Sequence[Line]) -> Iterator[tuple[str, ...]]:
    for bar in sorted(panel, key=_ours, reverse=True):
        for metric, number in _shares(bar).items():
            names = (bar.labels[name] for name in _BAR)
            yield (*names, metric, *number_cells(number), str(_sentences(bar)))


def _judge_note(judge: str, known: Mapping[tuple[str, str], Mapping[str, str]]) -> str:
    """Write how good a judge is, without full stop."""
    if (judge, FLIPS) not in known:
        return f"judge {judge}: no run here has tested it on labelled sentences"
    flips = ", ".join(f"{view} {text}" for view, text in known[judge, FLIPS].items())
    return (
        f"judge {judge}: accuracy in percent on the labelled sentences of {HELD_OUT} "
        f"{known.get((judge, ACCURACY), {}).get(HELD_OUT, MISSING)}; label flips in percent when "
        f"the name of the demographic group alone changes: {flips}"
    )


def _draw(panels: Sequence[Sequence[Line]], options: Options) -> Drawing:
    """Draw a column of panels per scale and model; protocols stand side by side in a panel."""
    together: dict[tuple[str, str], list[Line]] = {}
    for panel in panels:
        if any(_ours(bar) and _shares(bar) for bar in panel):
            own = panel[0].labels
            together.setdefault((f"{own['scale']} {own['beside']}", own["group"]), []).extend(panel)
    errors = spread_errors("error bar", options.spread, "sentences")
    grid = arrange({key: _panel(bars, options) for key, bars in together.items()}, column=0)
    return draw_stacks(grid, COLOURS, "share of sentences (%)", errors)


def _panel(bars: Sequence[Line], options: Options) -> StackPanel:
    # Real text on the left, then the presets' protocol.
    ordered = sorted(bars, key=lambda bar: (_ours(bar), bar.labels["protocol"] != PROTOCOL))
    text = [bar for bar in ordered if not _ours(bar)]
    first, *_ = ours = ordered[len(text) :]
    sections: dict[str, dict[str, dict[str, Stack]]] = {}
    for bar in ordered:
        protocol, name = bar.labels["protocol"], bar.labels["way"]
        if not _ours(bar):
            protocol, name = REFERENCE, common.TITLES[REFERENCE]
        elif protocol != first.labels["protocol"]:
            name += f"\n{protocol}"
        name = name.replace("lambda", "\N{GREEK SMALL LETTER LAMDA}")
        stacks = sections.setdefault(protocol, {}).setdefault(name, {})
        if shares := _shares(bar):
            parts = {label: shares[label].mean for label in LABELS}
            ends = shares[LABELS[0]].ends, shares[LABELS[-1]].ends
            seeds = shares[LABELS[0]].seeds
            stacks.setdefault(bar.labels["view"], Stack(parts, *ends, seeds))
    title = f"{_title(ours, text, options)}\n{_judge_title(first)}"
    return StackPanel(title, [*sections.values()])


def _title(ours: Sequence[Line], text: Sequence[Line], options: Options) -> str:
    first = ours[0].labels
    model = common.TITLES.get(first["model"], first["model"].rpartition(" ")[-1])
    scale = f", scale {first['scale']}" if len(options.scales) > 1 else ""
    persons = " and ".join(dict.fromkeys(bar.labels["view"] for bar in ours))
    protocols = " and ".join(dict.fromkeys(bar.labels["protocol"] for bar in ours))
    written, beside = (span(_sentences(b) for b in own if _shares(b)) for own in (ours, text))
    return (
        f"{persons}: {first['dataset']} task, {model}\n"
        f"protocol {protocols}{scale}, {written} sentences per bar"
        + f" ({common.TITLES[REFERENCE]}: {beside})"
        * bool(text)
    )


def _judge_title(bar: Line) -> str:
    judge, place = bar.labels["split"], {name: bar.labels[name] for name in common.PLACE}
    optimised = judge == common.JUDGES.get(common.kind(place["model"]))
    known = common.qualities(common.tests_of_judges(bar.numbers), **place)
    tested = ""
    if (judge, FLIPS) in known and HELD_OUT in known.get((judge, ACCURACY), {}):
        flips = next(iter(known[judge, FLIPS].values()))
        tested = f": accuracy {known[judge, ACCURACY][HELD_OUT]} %, label flips {flips} %"
    return f"judge {judge}{', which Equizero optimises' * optimised}{tested}"
