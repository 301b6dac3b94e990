"""Helpers for the tests of deep Q-learning."""

from __future__ import annotations

from typing import Any

from experiments.dqn.rollouts import Policies, Policy


class Alone(Policies):
    """One policy, to be played without others."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __len__(self) -> int:
        return 1

    def together(self, which: Any) -> Policy:
        return self.policy
