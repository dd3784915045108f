"""What an ablation takes away: strategies around a strategy, which hide a part of the situation or of the guidance.

A strategy has a `name` and `guide(situation) -> guidance`, both frozen records.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from optuna_llm.samplers.guidance import Guidance, Situation, Strategy, strategy_named

T = TypeVar("T")


def unchanged(record: T) -> T:
    return record


class Ablated:
    """A strategy that sees less of the situation, or whose guidance says less."""

    def __init__(
        self,
        inner: Strategy,
        name: str,
        *,
        before: Callable[[Situation], Situation] = unchanged,
        after: Callable[[Guidance], Guidance] = unchanged,
    ) -> None:
        self.inner = inner
        self.name = name
        self._before = before
        self._after = after

    def __repr__(self) -> str:
        return f"Ablated({self.inner!r}, {self.name!r})"

    def guide(self, situation: Situation) -> Guidance:
        return self._after(self.inner.guide(self._before(situation)))


def without_in_flight(situation: Situation) -> Situation:
    """The situation as if nothing were being evaluated or proposed.

    Its ordinal is kept: without it, asks of the same moment would draw the very same candidates.
    """
    return dataclasses.replace(situation, in_flight=(), open=())


def without_facts(guidance: Guidance) -> Guidance:
    """The guidance without what was computed from the history."""
    return dataclasses.replace(guidance, summary=())


ABLATIONS: Final[Mapping[str, Callable[[Strategy], Ablated]]] = {
    "no-in-flight": lambda inner: Ablated(inner, f"{inner.name}-no-in-flight", before=without_in_flight),
    "no-facts": lambda inner: Ablated(inner, f"{inner.name}-no-facts", after=without_facts),
}


def ablated(strategy: str, ablation: str | None) -> str | Strategy:
    """The strategy by its name, with one part of it taken away if an ablation is named."""
    return strategy if ablation is None else ABLATIONS[ablation](strategy_named(strategy))
