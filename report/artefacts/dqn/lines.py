"""Deep Q-learning: lines of a table for methods, their paired differences and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from report.artefacts.dqn.common import DATASETS, PAPERS_METHODS, Dataset
from report.cells import EN_DASH, MISSING, format_number, format_summary, summarise
from report.options import Options
from report.statistics import (
    CONFIDENCE,
    DRAWN_SUBSETS,
    ENUMERATED_SEEDS,
    RESAMPLES,
    bootstrap_interval,
    count_outcomes,
    format_interval,
    interquartile_mean,
    order_share,
    paired_differences,
)

# The paper has five seeds, without saying which.
SUBSET = 5
FIRST_SEEDS = tuple(map(str, range(SUBSET)))
LEVEL = f"{CONFIDENCE:.0%}".replace("%", " %")
HEADERS = (
    *("mean (spread)", "IQM", f"{LEVEL} interval", "n", "wins / ties / losses"),
    *(f"order in {SUBSET} seeds", f"seeds 0{EN_DASH}{SUBSET - 1}"),
)
INTERVAL_NOTE = (
    f"interval: of the mean, {LEVEL} percentile bootstrap over seeds with {RESAMPLES} resamples; "
    f"{EN_DASH} where n = 1"
)
LINE_NOTES = (
    INTERVAL_NOTE,
    "IQM: interquartile mean, without the floor(n/4) lowest and highest seeds",
    "differences: seed by seed, over the seeds that have both; a tie is a distance of at most "
    + ", ".join(f"{data.tolerance:g} ({name})" for name, data in DATASETS.items()),
    f"order in {SUBSET} seeds: share of the subsets of {SUBSET} of the n seeds whose means are in "
    f"the order of the line (of a difference: first above second), apart by more than a tie; all "
    f"subsets up to n = {ENUMERATED_SEEDS}, else {DRAWN_SUBSETS} random ones",
    f"seeds 0{EN_DASH}{SUBSET - 1}: the same with as many seeds as the paper has; empty unless all "
    f"are there",
)

ORDER_NOTE = f"the paper's order: {' > '.join(reversed(PAPERS_METHODS))}"

Values = Mapping[str, float]


def value_line(name: str, values: Values, dataset: str, options: Options) -> tuple[str, ...]:
    """The name and the cells `HEADERS` of one method."""
    data = DATASETS[dataset]
    cells = _number_cells(values, data, options, signed=False)
    return (name, *cells, "", "", _first_cell(values, data, options, signed=False))


def difference_line(
    methods: Mapping[str, Values], first: str, second: str, dataset: str, options: Options
) -> tuple[str, ...]:
    """The name and the cells `HEADERS` of one method minus another, seed by seed."""
    data, pair = DATASETS[dataset], [methods[first], methods[second]]
    differences = paired_differences(*pair)
    outcomes = count_outcomes(differences.values(), data.tolerance)
    return (
        f"{first} - {second}",
        *_number_cells(differences, data, options, signed=True),
        "/".join(map(str, outcomes)) if differences else "",
        _share(pair, data),
        _first_cell(differences, data, options, signed=True),
    )


def order_line(methods: Mapping[str, Values], dataset: str) -> tuple[str, ...]:
    """The line of the paper's order of methods; of `HEADERS`, `n` and the last two have a text."""
    data = DATASETS[dataset]
    descending = [methods[method] for method in reversed(PAPERS_METHODS)]
    common = set(descending[0]).intersection(*descending[1:])
    share = order_share([_first_seeds(values) for values in descending], SUBSET, data.tolerance)
    return (
        "the paper's order",
        *("", "", "", str(len(common)), ""),
        _share(descending, data),
        "" if share is None else "yes" if share else "no",
    )


def _number_cells(
    values: Values, data: Dataset, options: Options, signed: bool
) -> tuple[str, str, str, str]:
    numbers = [*values.values()]
    if not numbers:
        return (MISSING, MISSING, MISSING, "0")
    return (
        format_summary(summarise(numbers, options.spread), signed, data.decimals),
        format_number(interquartile_mean(numbers), signed, data.decimals),
        format_interval(bootstrap_interval(numbers), data.decimals, signed),
        str(len(numbers)),
    )


def _share(descending: Sequence[Values], data: Dataset) -> str:
    share = order_share(descending, SUBSET, data.tolerance)
    return "" if share is None else f"{100 * share:.1f} %"


def _first_seeds(values: Values) -> dict[str, float]:
    return {seed: values[seed] for seed in FIRST_SEEDS if seed in values}


def _first_cell(values: Values, data: Dataset, options: Options, signed: bool) -> str:
    first = [*_first_seeds(values).values()]
    if len(first) < SUBSET:
        return ""
    return format_summary(summarise(first, options.spread), signed, data.decimals)
