"""Claims: the records that `results/paper/claims.yaml` is read into; fields are its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Annotated, Any, Generic, TypeVar

from experiments.frame.methods import METHODS
from experiments.frame.rows import PROTOCOLS, SCALES
from report.claims.statistics import SIDES, UNITS, Aim
from report.rows import KEY_COLUMNS

ValueT = TypeVar("ValueT")
KINDS = (*SIDES, "bound", "test")
#: Whose claim it may be.
CLAIMANTS = PAPER, OURS = ("paper", "ours")
# Marks of keys that claims of some kinds alone have.
_SIDED = {"kinds": SIDES}
_ROWS = {"kinds": (*SIDES, "bound")}
_TEST = {"kinds": ("test",)}
# The scale is the user's choice, and seeds are what is averaged over.
COLUMNS = tuple(column for column in KEY_COLUMNS if column not in ("scale", "seed"))

Column = Annotated[str, "column", COLUMNS]
Method = Annotated[str, "method", METHODS]
Protocol = Annotated[str, "protocol", PROTOCOLS]
Texts = tuple[str, ...]
#: Column to the texts that it may have.
Filter = Mapping[Column, Texts]


@dataclass(frozen=True)
class Choice(Generic[ValueT]):
    """A value for all cells (`column` is empty), or one for each text of a column."""

    column: str
    values: Mapping[str, ValueT]

    def of(self, labels: Mapping[str, str]) -> ValueT | None:
        """The value for a cell; None where the file has none for its text."""
        return self.values.get(labels.get(self.column, ""))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What decides a claim in one cell: a weighted sum of numbers against a level.

    Attributes:
        terms: The rows of each number.
        weights: One for each term; by default the second term is subtracted from the first.
        filters: They come on top of the claim's.
        paper: What the paper's rows have in place of each term's columns; empty for the same.
    """

    name: str
    terms: tuple[Filter, ...]
    weights: tuple[float, ...] = (1.0, -1.0)
    filters: Filter = field(default_factory=dict)
    level: float = 0.0
    paper: tuple[Filter, ...] = ()
    command: str = ""

    def __post_init__(self) -> None:
        """Raise a ValueError where the terms are not as many as the lists that go with them."""
        terms, weights, paper = len(self.terms), len(self.weights), len(self.paper)
        if not 0 < terms <= weights or paper not in (0, terms):
            raise ValueError(
                f"{self.name!r} has {terms} terms, {weights} weights and {paper} under paper; "
                f"needed: as many weights, and under paper as many or none"
            )

    @property
    def of_paper(self) -> Comparison:
        """The same comparison of the paper's rows, whose protocol is always `reported`."""
        changes = self.paper or ({},) * len(self.terms)
        terms = tuple({**term, **each} for term, each in zip(self.terms, changes, strict=True))
        return replace(self, terms=terms, filters={**self.filters, "protocol": ()})


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where the paper's own numbers are.

    Attributes:
        artefact: Tables and figures, as its rows name them; none where it prints no numbers.
        filters: They replace those of the claim; an empty list drops one.
        names: Column to the paper's text to ours.
        over: The rows that all others are divided by; empty for none.
        times: Factor to our unit.
    """

    artefact: Texts
    filters: Filter = field(default_factory=dict)
    names: Mapping[Column, Mapping[str, str]] = field(default_factory=dict)
    over: Filter = field(default_factory=dict)
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper, or of our own.

    Attributes:
        of: Whose it is.
        task: Tasks whose rows decide.
        kind: A side of `Aim`, or `test`, for what no number shows.
        methods: The best first: each is compared with the next.
        per: Columns that make cells, beside the protocol.
        any: Further filters of which one must match; none for no more.
        without: Texts that leave a row out.
        expect: Texts of cells that count as missing without rows.
        margin: Largest difference that is none; of a bound the tolerance.
        interval: The metric that is a difference to equitune, with its interval; empty for none.
        unpaired: Whether intervals of both sides may be joined where there is one seed.
        unit: What those are over.
        over: The rows that all others are divided by; empty for none.
        stands_for: Our model to the paper's whose numbers are shown beside.
        command: What follows `python run.py experiment=`, with columns in braces.
        tests: Names of tests, from the checkout.
        scales: Scales at which it is judged.
        demo: What is different at the scale `demo`, by key.
    """

    id: str
    statement: str
    where: str
    task: Texts
    kind: Annotated[str, "kind", KINDS]
    metric: Texts = field(default=(), metadata=_ROWS)
    per: tuple[Column, ...] = field(default=(), metadata=_ROWS)
    methods: tuple[Method, ...] = field(default=(), metadata=_SIDED)
    comparisons: tuple[Comparison, ...] = field(default=(), metadata=_ROWS)
    filters: Filter = field(default_factory=dict, metadata=_ROWS)
    any: tuple[Filter, ...] = field(default=(), metadata=_ROWS)
    without: Filter = field(default_factory=dict, metadata=_ROWS)
    expect: Filter = field(default_factory=dict, metadata=_ROWS)
    margin: Choice[float] = field(default=Choice("", {"": 0.0}), metadata=_ROWS)
    interval: str = field(default="", metadata=_SIDED)
    unpaired: bool = field(default=False, metadata=_SIDED)
    unit: Annotated[str, "unit", UNITS] = field(default="images", metadata=_SIDED)
    over: Filter = field(default_factory=dict, metadata=_SIDED)
    stands_for: Mapping[str, str] = field(default_factory=dict, metadata=_SIDED)
    paper: Paper = field(default=Paper(artefact=()), metadata=_SIDED)
    tests: Texts = field(default=(), metadata=_TEST)
    command: Choice[str] = Choice("", {})
    note: str = ""
    of: Annotated[str, "claimant", CLAIMANTS] = PAPER
    scales: tuple[Annotated[str, "scale", SCALES], ...] = SCALES
    demo: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise a ValueError where it compares nothing, or a column has two roles."""
        if self.kind != "test" and not self.compared:
            raise ValueError("nothing to compare; needed: methods or comparisons")
        named = {column for each in self.compared for term in each.terms for column in term}
        for column in self.per:
            if column in named:
                raise ValueError(f"{column} is under per and in a term; it can be in one")

    def at(self, scale: str) -> Claim:
        """The claim as it is judged at a scale."""
        return replace(self, **self.demo) if scale == "demo" else self

    @property
    def compared(self) -> tuple[Comparison, ...]:
        """All comparisons, first those of neighbours in `methods`."""
        pairs = (
            Comparison(name=" > ".join(pair), terms=tuple({"method": (each,)} for each in pair))
            for pair in pairwise(self.methods)
        )
        return (*pairs, *self.comparisons)

    def aim(self, comparison: Comparison, labels: Mapping[str, str]) -> Aim:
        """What is claimed of a cell."""
        return Aim(self.kind, comparison.level, self.margin.of(labels) or 0.0)

    @property
    def topic(self) -> str:
        """Its tasks, and whether it is ours: what it stands under in tables."""
        return ", ".join(self.task) + f" ({OURS})" * (self.of == OURS)

    @property
    def models(self) -> Texts:
        """The models that the claim is about, if it names some."""
        return {**self.filters, **self.expect}.get("model", ())

    @property
    def variants(self) -> set[str]:
        """The texts of `variant` that count; the empty one where the claim names none."""
        filters = [self.filters, *self.any]
        for each in self.compared:
            filters += [each.filters, *each.terms]
        return {text for each in filters for text in each.get("variant", ())} or {""}

    @property
    def columns(self) -> Texts:
        """The columns that make cells."""
        return ("protocol", *self.per)

    def known(self, comparison: Comparison) -> list[str]:
        """The columns of `per` whose texts the claim tells: its cells are known without rows."""
        told = [self.expect, self.filters, comparison.filters, *self.any]
        return [column for column in self.per if any(column in each for each in told)]

    def expected(self, comparison: Comparison) -> Iterator[dict[str, str]]:
        """The cells that are missing without rows: texts of the protocol and of `known`."""
        columns = ["protocol", *self.known(comparison)]
        for each in self.any or ({},):
            told = {**self.expect, **self.filters, **each, **comparison.filters}
            for cell in product(*({"protocol": ("paper",), **told}[name] for name in columns)):
                labels = dict(zip(columns, cell, strict=True))
                if not any(labels.get(name) in texts for name, texts in self.without.items()):
                    yield labels
