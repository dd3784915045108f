"""Ablations take away one part each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from benchmark_support import SPACE
from optuna.study import StudyDirection

from benchmarks.quality.strategies import ABLATIONS
from benchmarks.quality.tasks.task import Params
from optuna_llm.samplers.guidance import Guidance, Situation
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A configuration in flight."""

    params: Params
    places: Sequence[float]


RUNNING = Running(params={"x": 1.0}, places=(0.1,))


class Whole:
    """A strategy that says everything, and remembers what it was told."""

    name = "whole"

    def __init__(self) -> None:
        self.situations: list[Situation] = []

    def guide(self, situation: Situation) -> Guidance:
        self.situations.append(situation)
        return Guidance(strategy=self.name, summary=("ties",), words="here", candidates=[{"x": 1.0}])


@pytest.mark.parametrize(
    ("ablation", "in_flight", "said"),
    [
        ("no-in-flight", [], {}),
        ("no-facts", [RUNNING], {"summary": ()}),
    ],
)
def test_an_ablation_takes_away_one_part(ablation: str, in_flight: list[Running], said: dict[str, Any]) -> None:
    whole, space = Whole(), make_space(SPACE)
    situation = Situation(
        space=space,
        direction=StudyDirection.MINIMIZE,
        evidence=Evidence(Axes(space), StudyDirection.MINIMIZE),
        in_flight=[RUNNING],
        ordinal=7,
    )
    strategy = ABLATIONS[ablation](whole)
    everything = whole.guide(situation)
    assert strategy.guide(situation) == replace(everything, **said)
    assert list(whole.situations[-1].in_flight) == in_flight
    assert whole.situations[-1].ordinal == 7
    assert strategy.name == f"whole-{ablation}"
