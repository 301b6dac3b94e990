"""Claims: the paper's claims as `results/paper/claims.yaml` has them, checked while it is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from experiments.frame.methods import METHODS
from experiments.frame.rows import PROTOCOLS, SCALES
from report.claims.model import KINDS, Choice, Claim, Comparison, Filter, Paper, Term
from report.claims.statistics import UNITS
from report.rows import KEY_COLUMNS

_COMMON = ("id", "statement", "where", "task", "kind", "command", "note", "scales")
_ROWS = (
    *("metric", "filters", "any", "except", "per", "expect", "comparisons", "margin"),
    *("unit", "paper", "demo"),
)
_CONTRAST = ("interval", "unpaired", "over", "stands_for")
_KEYS = {
    "order": (*_ROWS, *_CONTRAST, "methods"),
    "contrast": (*_ROWS, *_CONTRAST, "above", "below"),
    "equal": (*_ROWS, *_CONTRAST, "level"),
    "unequal": (*_ROWS, *_CONTRAST, "level"),
    "bound": _ROWS,
    "test": ("tests",),
}
_NEEDED = {
    **dict.fromkeys(KINDS, ("id", "statement", "where", "task", "kind")),
    "order": ("id", "statement", "where", "task", "kind", "methods", "per"),
    "test": ("id", "statement", "where", "task", "kind", "tests"),
}
_COMPARISON = ("name", "filters", "terms", "higher", "lower", "above", "below", "paper")
_PAPER = ("artefact", "filters", "names", "over", "times")
# What a filter may name; the scale is the user's choice, and seeds are what is averaged over.
COLUMNS = tuple(column for column in KEY_COLUMNS if column not in ("scale", "seed"))


def read_claims(path: Path, scale: str = "paper") -> list[Claim]:
    """The claims of a file, in order; at scale `demo`, what stands under `demo` replaces the rest.

    Raises:
        ValueError: The file is no YAML, or a claim has an unknown key, kind, column or protocol,
            lacks one, or has the id of another. One line that names the file and the claim.
    """
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (YAMLError, OmegaConfBaseException, OSError) as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict) or not isinstance(found.get("claims"), list):
        raise ValueError(f"{path}: expected one key, claims, with a list")
    _check_keys(_mapping(found, f"{path}"), ("claims",), f"{path}")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(found["claims"], start=1):
        name = entry.get("id", number) if isinstance(entry, dict) else number
        place = f"{path}: claim {name!r}"
        claim = _claim(_mapping(entry, place), scale, place)
        if claim.id in claims:
            raise ValueError(f"{place}: a second claim of this id")
        claims[claim.id] = claim
    return [claim for claim in claims.values() if scale in claim.scales]


def _claim(entry: Mapping[str, Any], scale: str, place: str) -> Claim:
    kind = str(entry.get("kind"))
    if kind not in KINDS:
        raise ValueError(f"{place}: unknown kind {kind!r}; choose from {', '.join(KINDS)}")
    allowed = (*_COMMON, *_KEYS[kind])
    _check_keys(entry, allowed, place, _NEEDED[kind])
    changes = _mapping(entry.get("demo", {}), f"{place}: demo")
    _check_keys(changes, allowed, f"{place}: demo")
    entry = {**entry, **changes} if scale == "demo" else entry
    whole = _filter(entry.get("filters", {}), f"{place}: filters")
    if "metric" in entry:
        whole = {**whole, "metric": _texts(entry["metric"])}
    claim = Claim(
        id=str(entry["id"]),
        statement=str(entry["statement"]),
        place=str(entry["where"]),
        tasks=_texts(entry["task"]),
        kind=kind,
        comparisons=tuple(_comparisons(entry, kind, place)),
        per=_texts(entry.get("per", [])),
        filters=whole,
        alternatives=tuple(_filter(each, f"{place}: any") for each in entry.get("any", [])),
        excluded=_filter(entry.get("except", {}), f"{place}: except"),
        expected=_filter(entry.get("expect", {}), f"{place}: expect"),
        margin=_choice(entry.get("margin", 0.0), f"{place}: margin", _number),
        interval=str(entry.get("interval", "")),
        unpaired=bool(entry.get("unpaired", False)),
        unit=str(entry.get("unit", "images")),
        over=_filter(entry.get("over", {}), f"{place}: over"),
        stands_for=_mapping(entry.get("stands_for", {}), f"{place}: stands_for"),
        paper=_paper(_mapping(entry.get("paper", {}), f"{place}: paper"), f"{place}: paper"),
        command=_choice(entry.get("command", ""), f"{place}: command", _text),
        tests=_texts(entry.get("tests", [])),
        scales=_texts(entry.get("scales", SCALES)),
        note=str(entry.get("note", "")),
    )
    _check_columns(claim.per, f"{place}: per")
    _check_names((claim.unit,), UNITS, "unit", place)
    _check_names(claim.scales, SCALES, "scale", place)
    for term in (term for each in claim.comparisons for term in each.terms):
        for column in claim.per:
            if column in term.rows:
                raise ValueError(f"{place}: {column} is under per and in a term; it can be in one")
    return claim


def _comparisons(entry: Mapping[str, Any], kind: str, place: str) -> list[Comparison]:
    found = []
    for pair in pairwise(_texts(entry.get("methods", []))):
        _check_names(pair, METHODS, "method", f"{place}: methods")
        sides: list[Filter] = [{"method": (name,)} for name in pair]
        terms = tuple(Term(w, f, f) for w, f in zip((1.0, -1.0), sides, strict=True))
        found.append(Comparison(" > ".join(pair), terms, {}, "above", 0.0))
    for each in entry.get("comparisons", []):
        inside = f"{place}: comparisons"
        found.append(_comparison(_mapping(each, inside), entry, kind, inside))
    if not found and kind != "test":
        raise ValueError(f"{place}: nothing to compare; needed: methods or comparisons")
    return found


def _comparison(
    each: Mapping[str, Any], entry: Mapping[str, Any], kind: str, place: str
) -> Comparison:
    _check_keys(each, _COMPARISON, place, ("name",))
    listed = [_mapping(term, place) for term in each.get("terms", [])]
    for side, weight in (("higher", 1.0), ("lower", -1.0)):
        if side in each:
            listed.append({"weight": weight, **_mapping(each[side], place)})
    changes = [_filter(change, f"{place}: paper") for change in each.get("paper", [])]
    if not listed or len(changes) not in (0, len(listed)):
        raise ValueError(
            f"{place}: {each['name']!r} has {len(listed)} terms and {len(changes)} under paper; "
            f"needed: terms, or higher and lower, and under paper as many or none"
        )
    terms = []
    for place_, term in enumerate(listed):
        rows = _filter({k: v for k, v in term.items() if k != "weight"}, place)
        papers = {**rows, **changes[place_]} if changes else rows
        terms.append(Term(_number(term.get("weight", 1.0), place), rows, papers))
    side, level = _aim({**entry, **each}, kind, place)
    filters = _filter(each.get("filters", {}), f"{place}: filters")
    return Comparison(str(each["name"]), tuple(terms), filters, side, level)


def _aim(entry: Mapping[str, Any], kind: str, place: str) -> tuple[str, float]:
    if kind in ("equal", "unequal"):
        return kind, _number(entry.get("level", 0.0), place)
    side = "below" if "below" in entry else "above"
    return side, _number(entry.get(side, 0.0), place)


def _paper(entry: Mapping[str, Any], place: str) -> Paper:
    if not entry:
        return Paper()
    _check_keys(entry, _PAPER, place, ("artefact",))
    names = _mapping(entry.get("names", {}), f"{place}: names")
    _check_columns(names, f"{place}: names")
    return Paper(
        artefacts=_texts(entry["artefact"]),
        filters=_filter(entry.get("filters", {}), f"{place}: filters"),
        names={
            column: {str(theirs): str(ours) for theirs, ours in _mapping(texts, place).items()}
            for column, texts in names.items()
        },
        over=_filter(entry.get("over", {}), f"{place}: over"),
        times=_number(entry.get("times", 1.0), place),
    )


def _choice(value: Any, place: str, make: Callable[[Any, str], Any]) -> Choice:
    if not isinstance(value, Mapping):
        return Choice("", {"": make(value, place)})
    if len(value) != 1:
        raise ValueError(f"{place}: expected one column, found {len(value)}: {', '.join(value)}")
    [(column, texts)] = value.items()
    _check_columns((column,), place)
    return Choice(column, {str(k): make(v, place) for k, v in _mapping(texts, place).items()})


def _filter(value: Any, place: str) -> Filter:
    filters = {str(column): _texts(texts) for column, texts in _mapping(value, place).items()}
    _check_columns(filters, place)
    for column, names in (("protocol", PROTOCOLS), ("method", METHODS)):
        _check_names(filters.get(column, ()), names, column, place)
    return filters


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: expected keys with values, found {value!r}")
    return value


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{place}: expected a number, found {value!r}")
    return float(value)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{place}: expected a text, found {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(map(str, listed))


def _check_keys(
    entry: Mapping[str, Any], allowed: Sequence[str], place: str, needed: Sequence[str] = ()
) -> None:
    _check_names([str(key) for key in entry], allowed, "key", place)
    for key in needed:
        if key not in entry:
            raise ValueError(f"{place}: missing key {key!r}; needed: {', '.join(needed)}")


def _check_columns(names: Any, place: str) -> None:
    _check_names([name for name in names if name], COLUMNS, "column", place)


def _check_names(names: Sequence[str], allowed: Collection[str], what: str, place: str) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{place}: unknown {what} {name!r}; choose from {', '.join(allowed)}")
