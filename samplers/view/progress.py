"""How a study goes: counts, the trust region and the scores of asks, after each of its trials.

Each state follows from the one before, so that a study can go on from any of the last ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..roles import COMBINE, REFINE
from .past import Guided
from .trust import Trust

FADING = 0.97
"""What a trial's share of a score is multiplied by at each later one: half of it is left after 23."""

EARLY = 4
"""Complete trials that say nothing about an ask: among the first ones every other improves on the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What asks of one kind have shown: how many improved the best trial, stayed in their region, took a second call.

    Each counts less the longer it is ago: when good values are found, fewer asks of any kind improve on them.
    """

    asks: float = 0.0
    improved: float = 0.0
    inside: float = 0.0
    stumbled: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            asks=self.asks + other.asks,
            improved=self.improved + other.improved,
            inside=self.inside + other.inside,
            stumbled=self.stumbled + other.stumbled,
        )

    def faded(self) -> "Score":
        """The same, one trial later."""
        return Score(
            asks=FADING * self.asks,
            improved=FADING * self.improved,
            inside=FADING * self.inside,
            stumbled=FADING * self.stumbled,
        )


Scores: TypeAlias = Mapping[tuple[str, str], Score]
"""By role and form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a study stands after one of its trials.

    `complete`: complete trials that have a place on the axes. `lowest`: the best loss of all, `since_improvement`:
    complete trials since the one that gave it. `proposed`: trials that come from the model. `scores`: what asks with
    regions have shown.
    """

    complete: int = 0
    proposed: int = 0
    lowest: float | None = None
    since_improvement: int = 0
    trust: Trust = field(default_factory=Trust)
    scores: Scores = field(default_factory=dict)

    def after(self, guided: Guided, loss: float | None, *, placed: bool, judged: bool) -> "Course":
        """Where it stands after one more trial; `loss` is None for one that is not complete.

        `placed`: it has a place on the axes. `judged`: it tells something about the ask that it came from.
        """
        improved = loss is not None and (self.lowest is None or loss < self.lowest)
        complete = self.complete + (placed and loss is not None)
        trust, scores = self.trust, self.scores
        if judged and guided.role in (REFINE, COMBINE):
            trust = trust.after(improved=improved)
        if judged and guided.inside is not None and complete > EARLY:
            scores = _judged(scores, guided, guided.inside, improved=improved)
        return Course(
            complete=complete,
            proposed=self.proposed + guided.proposed,
            lowest=loss if improved else self.lowest,
            since_improvement=0 if improved else self.since_improvement + (loss is not None),
            trust=trust,
            scores=scores,
        )


def _judged(scores: Scores, guided: Guided, inside: float, *, improved: bool) -> Scores:
    kind = (guided.role or "", guided.form or "")
    one = Score(asks=1.0, improved=float(improved), inside=inside, stumbled=float(guided.stumbled))
    faded = {known: score.faded() for known, score in scores.items()}
    return {**faded, kind: faded.get(kind, Score()) + one}
