"""How many trials a study still has room for, when all who work on it share one total.

Trial numbers are handed out in one order by every storage, so they are tickets: a trial runs if fewer than the total
of those with smaller numbers are COMPLETE, PRUNED, RUNNING or WAITING. However many processes look at once, no more
than the total can then ever be COMPLETE or PRUNED.
"""

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from ..study.snapshot import Snapshot

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """`free` places, after what is finished (`done`: COMPLETE or PRUNED) and what may still be."""

    free: int
    done: int


def room(snapshot: Snapshot, total: int) -> Room:
    """What is left of `total`; less than nothing if more trials are under way than it allows."""
    done = sum(trial.state in COUNTED for trial in snapshot.finished)
    return Room(free=total - done - len(snapshot.running) - len(snapshot.waiting), done=done)


def has_place(number: int, snapshot: Snapshot, total: int) -> bool:
    """Whether a trial of this number is among the first `total` that count."""
    return sum(trial.number < number and _counts(trial) for trial in _all(snapshot)) < total


def _all(snapshot: Snapshot) -> tuple[FrozenTrial, ...]:
    return (*snapshot.finished, *snapshot.running, *snapshot.waiting)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.FAIL
