"""What an ablation takes away: strategies around a strategy, which hide a part of the situation or of the guidance.

A strategy has a `name` and `guide(situation) -> guidance`, both frozen records.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from optuna_llm import FunctionClient, LLMGuidedSampler, UsageError

Change = Callable[[Any], Any]


class Strategy(Protocol):
    """Computes the guidance of one ask from the situation that the ask is in."""

    @property
    def name(self) -> str: ...

    def guide(self, situation: Any) -> Any: ...


def unchanged(record: Any) -> Any:
    return record


class Ablated:
    """A strategy that sees less of the situation, or whose guidance says less."""

    def __init__(self, inner: Strategy, name: str, *, before: Change = unchanged, after: Change = unchanged) -> None:
        self.inner = inner
        self.name = name
        self._before = before
        self._after = after

    def __repr__(self) -> str:
        return f"Ablated({self.inner!r}, {self.name!r})"

    def guide(self, situation: Any) -> Any:
        return self._after(self.inner.guide(self._before(situation)))


def without_in_flight(situation: Any) -> Any:
    """The situation as if nothing were being evaluated or proposed."""
    return dataclasses.replace(situation, in_flight=())


def without_summary(guidance: Any) -> Any:
    """The guidance without what was computed from the history."""
    return dataclasses.replace(guidance, summary=())


def without_regions(guidance: Any) -> Any:
    """The guidance without where to search: no words, no menu, no region."""
    return dataclasses.replace(guidance, words="", menu={}, region={})


ABLATIONS: Final[Mapping[str, Callable[[Strategy], Ablated]]] = {
    "no-in-flight": lambda inner: Ablated(inner, f"{inner.name}-no-in-flight", before=without_in_flight),
    "no-summary": lambda inner: Ablated(inner, f"{inner.name}-no-summary", after=without_summary),
    "no-regions": lambda inner: Ablated(inner, f"{inner.name}-no-regions", after=without_regions),
}


def ablated(strategy: str, ablation: str | None) -> Any:
    """The strategy by its name, with one part of it taken away if an ablation is named."""
    return strategy if ablation is None else ABLATIONS[ablation](named(strategy))


def named(strategy: str) -> Strategy:
    """The strategy object that the sampler uses under a name."""
    sampler: Any = LLMGuidedSampler(FunctionClient(lambda request: {}), strategy=strategy)  # type: ignore[call-arg]
    for attribute in ("strategy", "_strategy"):
        found = getattr(sampler, attribute, None)
        if callable(getattr(found, "guide", None)):
            return found  # type: ignore[no-any-return]
    raise UsageError(f"the sampler keeps no strategy object for {strategy!r} that could be ablated")
