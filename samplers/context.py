"""What the model is shown of a study, rebuilt from a snapshot on every ask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..engine.errors import UsageError
from ..engine.history import Snapshot
from ..engine.records import EMPTY, FAILURE_ATTRIBUTE
from .digest import Digest, Row
from .flight import Flight
from .notation import clean
from .text import quoted, scrub

BLOCK = 25  # rows are evicted in blocks, so that the prompt keeps its prefix in between
MAX_FAILURE = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPolicy:
    """How much of the study a prompt shows, in rows; `failure_text` is what leaves the machine of a failed trial.

    `history` bounds the finished trials (the newest, evicted in blocks), `best` the best rows repeated at the end,
    `failures` the failed trials with their reason, `in_flight` the configurations being evaluated or proposed.
    `failure_text`: "message" (exception type and message, scrubbed), "type", or None. `rationale`: the model says why
    before it gives the values, in at most 40 words; these are tokens and seconds of every call.
    """

    history: int = 100
    best: int = 3
    failures: int = 5
    in_flight: int = 64
    failure_text: Literal["message", "type"] | None = "message"
    rationale: bool = True

    def __post_init__(self) -> None:
        for name in ("history", "best", "failures", "in_flight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"ContextPolicy({name}=) must be a whole number of at least 0, not {value!r}")
        if self.failure_text not in ("message", "type", None):
            raise UsageError(
                f"ContextPolicy(failure_text=) must be 'message', 'type' or None, not {self.failure_text!r}"
            )
        if not isinstance(self.rationale, bool):
            raise UsageError(f"ContextPolicy(rationale=) must be True or False, not {self.rationale!r}")

    def halved(self) -> "ContextPolicy":
        """The same with half the rows of history, for a model whose context is too short."""
        return replace(self, history=self.history // 2, in_flight=min(self.in_flight, max(8, self.in_flight // 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many trials of each kind a context was built from."""

    complete: int
    pruned: int
    failed: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything of a study that a prompt is made of; rows of `history` in order of completion, of `best` best last."""

    names: tuple[str, ...]
    direction: StudyDirection
    counts: Counts
    history: tuple[Row, ...]
    omitted: int
    best: tuple[Row, ...]
    failures: tuple[tuple[int, str], ...]
    in_flight: tuple[Row, ...]
    others_asking: int


def build_context(snapshot: Snapshot, digest: Digest, flight: Flight, policy: ContextPolicy) -> Context:
    """What a prompt shows of the study; `digest` and `flight` may be new or have seen earlier snapshots."""
    digest.update(snapshot.finished)
    first = first_shown(digest.known, policy.history)
    in_flight = tuple(entry.row for entry in flight.update(snapshot))
    return Context(
        names=digest.names,
        direction=digest.direction,
        counts=Counts(
            complete=digest.counts[TrialState.COMPLETE],
            pruned=digest.counts[TrialState.PRUNED],
            failed=digest.counts[TrialState.FAIL],
            running=len(in_flight),
        ),
        history=tuple(digest.rows(first)),
        omitted=first,
        best=tuple(reversed(digest.best(policy.best))),
        failures=failure_lines(digest.failed[-policy.failures :] if policy.failures else (), policy),
        in_flight=in_flight[: policy.in_flight],
        others_asking=max(0, snapshot.asking - 1),
    )


def first_shown(n_finished: int, limit: int) -> int:
    """Index of the first finished trial shown; grows in blocks, so that it follows from the count alone."""
    surplus = n_finished - limit
    return 0 if surplus <= 0 else min(n_finished, math.ceil(surplus / BLOCK) * BLOCK)


def failure_lines(failed: Sequence[FrozenTrial], policy: ContextPolicy) -> tuple[tuple[int, str], ...]:
    """Number and reason of failed trials, in the order given."""
    if policy.failure_text is None:
        return ()
    return tuple((trial.number, _reason(trial, policy)) for trial in failed)


def _reason(trial: FrozenTrial, policy: ContextPolicy) -> str:
    failure = trial.user_attrs.get(FAILURE_ATTRIBUTE, EMPTY)
    if not isinstance(failure, Mapping) or not failure:
        return "no reason recorded"
    kind = clean(str(failure.get("type", "failure")), 60)
    message = str(failure.get("message", ""))
    if policy.failure_text == "type" or not message:
        return kind
    return f"{kind}: {quoted(scrub(message), MAX_FAILURE)}"
