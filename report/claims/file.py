"""Claims: reads `results/paper/claims.yaml`; the types of the records' fields say what is valid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from report.claims.model import KINDS, Choice, Claim, Column, Method, Protocol, Texts

_SCALARS: dict[Any, tuple[str, Any]] = {
    float: ("a number", (int, float)),
    bool: ("true or false", bool),
    str: ("a text", (str, int, float)),
}
# Columns of filters with a closed set of texts.
_CLOSED = {"method": tuple[Method, ...], "protocol": tuple[Protocol, ...]}


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file, in order.

    Raises:
        ValueError: The file is no YAML, or a claim has an unknown key, kind, column or name, lacks
            a key, or has the id of another. One line that names the file and the claim.
    """
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (YAMLError, OmegaConfBaseException, OSError) as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    entries = found.get("claims") if isinstance(found, dict) and len(found) == 1 else None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected one key, claims, with a list")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id", number) if isinstance(entry, dict) else number
        try:
            claim = _claim(_mapping(entry))
            if claim.id in claims:
                raise ValueError("a second claim of this id")
        except ValueError as error:
            raise ValueError(f"{path}: claim {name!r}: {error}") from None
        claims[claim.id] = claim
    return [*claims.values()]


def _claim(entry: Mapping[str, Any]) -> Claim:
    kind = str(entry.get("kind"))
    _check([kind], "kind", KINDS)
    claim = Claim(**_fields(Claim, entry, kind))
    try:
        claim = replace(claim, demo=_fields(Claim, claim.demo, kind, needed=False))
        claim.at("demo")
    except ValueError as error:
        raise ValueError(f"demo: {error}") from None
    return claim


def _fields(
    record: Any, entry: Mapping[str, Any], kind: str = "", needed: bool = True
) -> dict[str, Any]:
    """Return the values of a record's fields that an entry of the file has."""
    known = {
        each.name: each for each in fields(record) if kind in each.metadata.get("kinds", (kind,))
    }
    _check(entry, "key", known)
    required = [
        name for name, each in known.items() if each.default is each.default_factory is MISSING
    ]
    for name in required:
        if needed and name not in entry:
            raise ValueError(f"missing key {name!r}; needed: {', '.join(required)}")
    types = get_type_hints(record, include_extras=True)
    found = {}
    for name, value in entry.items():
        try:
            found[name] = _read(types[name], value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def _read(form: Any, value: Any) -> Any:
    """Return a value of the file as a type asks for it; a single value is a list of one."""
    origin, inside = get_origin(form), get_args(form)
    if form is Any:
        return value
    if is_dataclass(form):
        return form(**_fields(form, _mapping(value)))  # type: ignore[operator]
    if origin is Choice:
        return _choice(inside[0], value)
    if origin is tuple:
        listed = value if isinstance(value, list) else [value]
        return tuple(_read(inside[0], each) for each in listed)
    if origin is Mapping:
        closed = _CLOSED if inside[1] == Texts else {}
        return {
            _read(inside[0], key): _read(closed.get(key, inside[1]), each)
            for key, each in _mapping(value).items()
        }
    if origin is Annotated:
        text = _read(inside[0], value)
        _check([text], what=inside[1], allowed=inside[2])
        return text
    expected, classes = _SCALARS[form]
    if not isinstance(value, classes) or (form is float and isinstance(value, bool)):
        raise ValueError(f"expected {expected}, found {value!r}")
    return form(value)


def _choice(form: Any, value: Any) -> Choice[Any]:
    if not isinstance(value, Mapping):
        return Choice("", {"": _read(form, value)})
    if len(value) != 1:
        raise ValueError(f"expected one column, found {len(value)}: {', '.join(value)}")
    [(column, values)] = value.items()
    return Choice(_read(Column, column), _read(Mapping[str, form], values))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected keys with values, found {value!r}")
    return value


def _check(names: Iterable[str], what: str, allowed: Collection[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}; choose from {', '.join(allowed)}")
