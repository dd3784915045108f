"""What this process knows of one study: its history as last read, and what is in flight but not in storage yet."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from optuna.trial import FrozenTrial

from ..records import ALONE, EMPTY, Charge, Proposal, Share, charge_of
from .snapshot import History, Snapshot

A_NANODOLLAR = 1e-9


class Ledger:
    """Shared by all runs and threads that work on one study through one sampler.

    A proposal is *reserved* from its acceptance until it is a trial or given up, and *assigned* to its trial for as
    long as the trial may still suggest its values.
    """

    def __init__(self, runs: set[str] | None = None) -> None:
        self.runs = runs if runs is not None else set()  # who asks here, as the trials' records name it
        self.active: set[str] = set()  # runs of this process that go on
        self.reads_attributes = False
        self.shared = False  # whether other processes have worked on the study since we began; they may be gone again
        self.on_share: Callable[[int], None] | None = None  # told how many processes share what we may ask
        self.on_attributes: list[Callable[[Mapping[str, Any]], None]] = []
        self.reading = threading.Lock()  # one reading at a time, so that readings arrive in order
        self._lock = threading.Lock()  # guards everything below; never held across a storage call
        self._history = History()
        self._read_at = -float("inf")
        self._reserved: dict[int, Proposal] = {}
        self._assigned: dict[int, Proposal] = {}
        self._claimed: set[int] = set()
        self._notes: dict[int, list[str]] = {}
        self._asking = 0
        self._charges: Mapping[str, Charge] = EMPTY
        self._owed = self._written = Charge()
        self._share = ALONE

    def extend(self, trials: Sequence[FrozenTrial], charges: Mapping[str, Charge] = EMPTY) -> Snapshot:
        """Take in a reading of all trials, and of what was spent without any."""
        with self._lock:
            self._history.extend(trials)
            self._charges = charges
            self._read_at = monotonic()
            return self._snapshot()

    def extend_one(self, trial: FrozenTrial) -> bool:
        """Take in a reading of one trial; False if the others must be read as well."""
        with self._lock:
            return self._history.extend_one(trial)

    def tell_of(self, attributes: Mapping[str, Any]) -> None:
        """Pass on a reading of the study's own attributes."""
        if attributes:
            for listener in tuple(self.on_attributes):
                listener(attributes)

    def share(self, share: Share, *, asking: int | None = None) -> None:
        """Who works on the study has changed, maybe; `asking` of them, or all, share what we may ask."""
        with self._lock:
            self._share = share
            self.shared |= share.processes > 1
        if self.on_share is not None:
            self.on_share(share.processes if asking is None else asking)

    @property
    def age(self) -> float:
        """Seconds since all trials were last read."""
        return monotonic() - self._read_at

    def snapshot(self) -> Snapshot:
        """The last reading with the reservations of this moment; touches no storage."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        history = self._history
        return Snapshot(
            finished=history.finished,
            running=history.running,
            waiting=history.waiting,
            space=history.space,
            reserved=tuple(self._reserved.values()),
            assigned=dict(self._assigned) if self._assigned else EMPTY,
            asking=self._asking,
            charges=self._charges,
            surplus=history.surplus,
            share=self._share,
        )

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a proposal that is being computed, so that others which are know of it."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1

    def reserve(self, proposal: Proposal) -> None:
        """Show an accepted proposal to every context until it is a trial or released."""
        with self._lock:
            self._reserved[id(proposal)] = proposal

    def reserves(self, proposal: Proposal) -> bool:
        """Whether a proposal is reserved: neither a trial nor given up."""
        with self._lock:
            return id(proposal) in self._reserved

    def claims(self, number: int) -> bool:
        """Whether an enqueued trial is claimed, and not taken yet."""
        with self._lock:
            return number in self._claimed

    def release(self, proposal: Proposal) -> None:
        """Forget a reservation; it may be gone already."""
        with self._lock:
            self._reserved.pop(id(proposal), None)

    def give_up(self, proposal: Proposal) -> None:
        """Forget a reservation that will be no trial, and keep what it took."""
        self.release(proposal)
        self.owe(charge_of(proposal.provenance))

    def assign(self, proposal: Proposal, number: int) -> None:
        """Tie a proposal to the running trial that suggests its values one by one."""
        with self._lock:
            self._reserved.pop(id(proposal), None)
            self._assigned[number] = proposal

    def assigned(self, number: int) -> Proposal | None:
        """The proposal that a running trial was given, if its values are written as they are suggested."""
        with self._lock:
            return self._assigned.get(number)

    def holds(self, proposal: Proposal) -> bool:
        """Whether a proposal is still reserved, or its trial still runs."""
        with self._lock:
            return id(proposal) in self._reserved or any(proposal is other for other in self._assigned.values())

    def claim(self, allowed: Callable[[FrozenTrial], bool] = bool) -> FrozenTrial | None:
        """The oldest enqueued trial that nobody in this process has claimed yet, of those `allowed`."""
        with self._lock:
            open_ones = (trial for trial in self._history.waiting if trial.number not in self._claimed)
            free = next(filter(allowed, open_ones), None)
            if free is not None:
                self._claimed.add(free.number)
            return free

    def unclaim(self, number: int) -> None:
        """Give an enqueued trial back, or forget one that is claimed for good."""
        with self._lock:
            self._claimed.discard(number)

    def owe(self, charge: Charge) -> None:
        """Something was spent that no trial will have on record."""
        with self._lock:
            self._owed += charge

    def due(self) -> Charge | None:
        """All that was owed so far, if it grew since it was last `paid`."""
        with self._lock:
            grown = self._owed - self._written
            return self._owed if grown.requests or grown.tokens or grown.usd > A_NANODOLLAR else None

    def paid(self, charge: Charge) -> None:
        """So much is in the study now."""
        with self._lock:
            self._written = charge

    def note(self, number: int, repair: str) -> None:
        """Keep a repair that was made while a trial ran, to be written when it is told."""
        with self._lock:
            self._notes.setdefault(number, []).append(repair)

    def close(self, number: int) -> list[str]:
        """A trial is about to be told: forget its assignment; returns the repairs that were noted."""
        with self._lock:
            self._assigned.pop(number, None)
            return self._notes.pop(number, [])
