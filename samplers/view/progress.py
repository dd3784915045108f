"""How a study goes: counts, the trust region and the scores of asks, after each of its trials.

Each state follows from the one before, so that a study can go on from any of the last ones. The trust region follows
TuRBO (Eriksson et al., "Scalable Global Optimization via Local Bayesian Optimization", 2019), with factors for budgets
of tens of trials instead of thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..provenance import COMBINE, REFINE, GuidanceRecord

# The side of the trust region, as a share of each axis: it begins with half of it, is never all of it (that would be
# exploring), and starts anew once changes are so fine that trials hardly differ from the best one.
TRUST_START, TRUST_LARGEST, TRUST_SMALLEST = 0.5, 0.8, 0.04

# TuRBO doubles after several successes and halves after as many failures as there are parameters. With tens of trials
# one success must do, so it changes the side less.
TRUST_GROWTH, TRUST_SHRINKAGE, TRUST_FAILURES = 1.4, 0.6, 3

# What a trial's share of a score is multiplied by at each later one: half of it is left after 23, a quarter of a run of
# a hundred.
FADING = 0.97

# Complete trials that say nothing about an ask: among the first ones every other improves on the best.
UNSCORED_TRIALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far from the incumbent to look: a region that grows on success and shrinks on failure.

    `length` is the side of the region, as a share of each axis; `failures` counts those in a row at this length.
    """

    length: float = TRUST_START
    failures: int = 0

    def after(self, *, improved: bool) -> "Trust":
        """The region once one more trial in it has finished; one that has shrunk to nothing starts anew."""
        if improved:
            return Trust(length=min(TRUST_LARGEST, self.length * TRUST_GROWTH))
        if self.failures + 1 < TRUST_FAILURES:
            return Trust(length=self.length, failures=self.failures + 1)
        length = self.length * TRUST_SHRINKAGE
        return Trust(length=TRUST_START if length < TRUST_SMALLEST else length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How many asks of one kind improved the best trial, stayed in their region, or took a second call.

    Each counts less the longer it is ago: when good values are found, fewer asks of any kind improve on them.
    """

    asks: float = 0.0
    improved: float = 0.0
    inside: float = 0.0
    stumbled: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return self.plus(other)

    def plus(self, other: "Score", weight: float = 1.0) -> "Score":
        """The sum, with what `other` holds taken `weight` times."""
        return Score(
            asks=self.asks + weight * other.asks,
            improved=self.improved + weight * other.improved,
            inside=self.inside + weight * other.inside,
            stumbled=self.stumbled + weight * other.stumbled,
        )


Scores: TypeAlias = Mapping[tuple[str, str], Score]
"""By role and form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
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

    def after(self, guidance: GuidanceRecord, loss: float | None, *, placed: bool, judged: bool) -> "StudyProgress":
        """Where it stands after one more trial; `loss` is None for one that is not complete.

        `placed`: the trial has a place on the axes. `judged`: it tells something about the ask that it came from.
        """
        improved = loss is not None and (self.lowest is None or loss < self.lowest)
        complete = self.complete + (placed and loss is not None)
        trust, scores = self.trust, self.scores
        if judged and guidance.role in (REFINE, COMBINE):
            trust = trust.after(improved=improved)
        if judged and guidance.inside is not None and complete > UNSCORED_TRIALS:
            scores = _with_ask(scores, guidance, guidance.inside, improved=improved)
        return StudyProgress(
            complete=complete,
            proposed=self.proposed + guidance.proposed,
            lowest=loss if improved else self.lowest,
            since_improvement=0 if improved else self.since_improvement + (loss is not None),
            trust=trust,
            scores=scores,
        )


def _with_ask(scores: Scores, guidance: GuidanceRecord, inside: float, *, improved: bool) -> Scores:
    kind = (guidance.role or "", guidance.form or "")
    ask = Score(asks=1.0, improved=float(improved), inside=inside, stumbled=float(guidance.stumbled))
    faded = {known: Score().plus(score, FADING) for known, score in scores.items()}
    return {**faded, kind: faded.get(kind, Score()) + ask}
