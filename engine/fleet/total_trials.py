"""How many places a study has left, when all who work on it share one total.

Trial numbers are handed out in one order by every storage, so they are tickets: a trial runs if fewer than the total
of those with smaller numbers are COMPLETE, PRUNED, RUNNING or WAITING. However many processes look at once, no more
than the total can then ever be COMPLETE or PRUNED.
"""

from dataclasses import dataclass

from optuna.trial import TrialState

from ..study.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesLeft:
    """`free` places, after the trials that are `done` (COMPLETE or PRUNED) and those that may still be.

    `free` is below 0 where more trials are under way than the total allows.
    """

    free: int
    done: int


def places_left(snapshot: Snapshot, total: int) -> PlacesLeft:
    """The places that the trials of a snapshot leave of `total`."""
    done = sum(trial.state is not TrialState.FAIL for trial in snapshot.finished)
    return PlacesLeft(free=total - done - len(snapshot.running) - len(snapshot.waiting), done=done)


def has_place(number: int, snapshot: Snapshot, total: int) -> bool:
    """Whether a trial of this number is among the first `total` that count."""
    trials = (*snapshot.finished, *snapshot.running, *snapshot.waiting)
    return sum(trial.number < number and trial.state is not TrialState.FAIL for trial in trials) < total
