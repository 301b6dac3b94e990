"""Headlines: the few comparisons that tell what came out, and what is found of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from report.cells import EN_DASH, format_interval, format_number
from report.claims.verdicts import Report


class Headline(NamedTuple):
    """A comparison of a claim in one cell.

    Attributes:
        words: What is compared, as Markdown.
        labels: Some of the cell's labels, which no other cell of the comparison has.
    """

    words: str
    claim: str
    comparison: str
    labels: Mapping[str, str]


class Outcome(NamedTuple):
    """What was found of a headline, with its interval, and the paper's number or a dash."""

    headline: Headline
    ours: str
    paper: str
    verdict: str


HEADLINES = (
    Headline(
        "commands with a new verb (SCAN, LSTM, protocol reference): equizero over equitune",
        *("scan-zero-shot", "equizero > equitune"),
        {"protocol": "reference", "dataset": "add_jump", "model": "LSTM"},
    ),
    Headline(
        "the same: equitune over the pretrained model",
        *("scan-zero-shot", "equitune > pretrained"),
        {"protocol": "reference", "dataset": "add_jump", "model": "LSTM"},
    ),
    Headline(
        "turned photographs, zero-shot (a small CLIP of ours): equizero over equitune",
        *("clip-order", "equizero > equitune"),
        {"protocol": "paper", "model": "SmallCLIP", "transform": "rot90"},
    ),
    Headline(
        "the same: λ-equitune over equitune",
        *("clip-lambda-zero-shot", "lambda_equitune > equitune"),
        {"protocol": "paper", "model": "SmallCLIP"},
    ),
    Headline(
        "turned photographs, last layers learned (ResNet-20, in the paper ResNet-18): λ-equitune "
        "over equitune",
        *("cnn-order", "lambda_equitune > equitune"),
        {"protocol": "paper", "model": "ResNet20", "step": "10"},
    ),
    Headline(
        "turned photographs, a CNN as it is, where the paper finds equizero worse (public "
        "ResNet-20): equitune over equizero",
        *("cnn-equizero-untrained", "equitune > equizero, largest probability, public weights"),
        {"dataset": "cifar10"},
    ),
    Headline(
        "cart pole (deep Q-learning): equizero over equitune, which "
        "[cannot differ there](docs/dqn.md#cartpole-cannot-tell-equizero-from-equitune)",
        *("dqn-order", "equizero > equitune"),
        {"dataset": "cartpole", "variant": ""},
    ),
    Headline(
        "sentences about a straight and a gay man (SmolLM2): relaxed equitune leaves no gap in "
        "regard",
        *("fairness-debias", "R-Equi"),
        {"protocol": "paper", "dataset": "respect", "group": "straight_gay", "split": "minilm"},
    ),
)


def found_headlines(report: Report) -> list[Outcome]:
    """The headlines that have rows, in order."""
    outcomes = []
    for line in HEADLINES:
        for cell in report.cells:
            if (cell.claim.id, cell.comparison) != (line.claim, line.comparison):
                continue
            if cell.found and line.labels.items() <= cell.labels.items():
                found = cell.found
                ours = f"{format_number(found.value, True)} {format_interval(found.interval, 1)}"
                paper = EN_DASH if cell.paper is None else format_number(cell.paper.value, True)
                outcomes.append(Outcome(line, ours, paper, cell.verdict))
    return outcomes
