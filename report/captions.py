"""The commands for missing cells, which stand below a table or figure."""

from __future__ import annotations

from collections.abc import Iterable


def commands(experiment: str, arms: Iterable[str]) -> tuple[str, ...]:
    """One shell command per different arm; an arm is further arguments, such as `scale=paper`."""
    arms = dict.fromkeys(arms)
    return tuple(f"python run.py experiment={experiment} {arm}".rstrip() for arm in arms)
