"""What this process knows of one study, shared by all doors to it."""

import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from optuna.trial import FrozenTrial

from ..records import ALONE, EMPTY, Charge, Share
from .attributes import untracked_charges
from .in_flight import InFlight
from .snapshot import History, Snapshot
from .spending import UntrackedSpending


class Sharing:
    """Who works on a study: this process's place among others, as last judged, and its own runs.

    Every field is replaced, or changed by one atomic call, and read alone: no lock.
    """

    def __init__(self) -> None:
        self.share = ALONE
        self.asking = 1  # processes that ask the same model for the study: they divide its rates
        self.was_shared = False  # whether others have worked on the study since we began; they may be gone again
        self.active_runs: set[str] = set()  # runs of this process that go on

    def __repr__(self) -> str:
        return f"Sharing({self.share}, asking={self.asking}, active_runs={len(self.active_runs)})"

    def update(self, share: Share, *, asking: int | None = None) -> None:
        """Replace the place; `asking` processes ask the same model, None for all."""
        self.share = share
        self.asking = share.processes if asking is None else asking
        self.was_shared |= share.processes > 1


class StudyState:
    """The history as last read, and what is in flight, spent and shared; for all runs and threads of one sampler."""

    def __init__(self, own: set[str] | None = None) -> None:
        self.reading = threading.Lock()  # one reading at a time, across its storage call: readings arrive in order
        self._lock = threading.Lock()  # a snapshot's fields belong together; never held across a storage call
        self.in_flight = InFlight(self._lock)
        self.spending = UntrackedSpending(own)
        self.sharing = Sharing()
        self._history = History()
        self._attributes: Mapping[str, Any] = EMPTY
        self._charges: Mapping[str, Charge] = EMPTY
        self._read_at = -float("inf")

    def update(self, trials: Sequence[FrozenTrial], attributes: Mapping[str, Any] = EMPTY) -> Snapshot:
        """Take in a reading of all trials, and of the study's user attributes."""
        charges = untracked_charges(attributes)
        with self._lock:
            self._history.extend(trials)
            self._attributes, self._charges = attributes, charges
            self._read_at = monotonic()
            return self._snapshot()

    def update_one(self, trial: FrozenTrial) -> bool:
        """Take in a reading of one trial; False if the others must be read as well."""
        with self._lock:
            return self._history.extend_one(trial)

    @property
    def age(self) -> float:
        """Seconds since all trials were last read."""
        return monotonic() - self._read_at

    def snapshot(self) -> Snapshot:
        """The last reading with what is in flight at this moment; touches no storage."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        history = self._history
        reserved, assigned, asking = self.in_flight.locked_view()
        return Snapshot(
            finished=history.finished,
            running=history.running,
            waiting=history.waiting,
            surplus=history.surplus,
            space=history.space,
            reserved=reserved,
            assigned=assigned,
            asking=asking,
            attributes=self._attributes,
            charges=self._charges,
            share=self.sharing.share,
        )
