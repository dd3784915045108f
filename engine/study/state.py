"""What this process knows of one study, and what is not in storage yet; shared by all doors to it."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from ..records import ALONE, EMPTY, Charge, Proposal, Share
from .history import History
from .snapshot import Snapshot

# A proposal is a trial within milliseconds of its acceptance, unless all workers are busy.
ABOUT_TO_SECONDS = 1.0

A_NANODOLLAR = 1e-9  # sums of prices differ by rounding: so little is no reason for a write


class _Asking:
    """Counts a proposal for as long as it is being computed."""

    def __init__(self, in_flight: "InFlight") -> None:
        self._in_flight = in_flight

    def __enter__(self) -> None:
        self._in_flight.count_asking(1)

    def __exit__(self, *_: object) -> None:
        self._in_flight.count_asking(-1)


class InFlight:
    """The proposals and claims of all runs and threads that work on one study through one sampler.

    A proposal is *reserved* from its acceptance until it is a trial or given up, and *assigned* to its trial for as
    long as the trial may still suggest its values. An enqueued trial is *claimed* by whoever completes it.
    """

    def __init__(self, lock: threading.Lock) -> None:
        # Guards every change of a field, and what looks at two. `StudyState` shares it with the history, so that a
        # snapshot shows each proposal once: as a reservation, or as a trial. Never held across a storage call.
        self._lock = lock
        self._reserved: dict[int, Proposal] = {}
        self._assigned: dict[int, Proposal] = {}
        self._claimed: set[int] = set()
        self._repairs: dict[int, list[str]] = {}
        self._asking = 0

    def __repr__(self) -> str:
        return (
            f"InFlight(reserved={len(self._reserved)}, assigned={len(self._assigned)}, claimed={len(self._claimed)}, "
            f"asking={self._asking})"
        )

    def locked_view(self) -> tuple[tuple[Proposal, ...], dict[int, Proposal], int]:
        """Reserved, assigned, asking; the caller holds the lock."""
        return tuple(self._reserved.values()), dict(self._assigned), self._asking

    def asking(self) -> AbstractContextManager[None]:
        """Count a proposal that is being computed, so that those being computed at the same moment know of it."""
        return _Asking(self)

    def count_asking(self, more: int) -> None:
        """So many `more` proposals are being computed."""
        with self._lock:
            self._asking += more

    def reserve(self, proposal: Proposal) -> None:
        """Show an accepted proposal in every snapshot until it is a trial or released."""
        with self._lock:
            self._reserved[id(proposal)] = proposal

    def is_reserved(self, proposal: Proposal) -> bool:
        """Whether a proposal is neither a trial nor given up."""
        return id(proposal) in self._reserved

    def release(self, proposal: Proposal) -> None:
        """Drop a reservation; it may be gone already."""
        with self._lock:
            self._reserved.pop(id(proposal), None)

    def assign(self, proposal: Proposal, number: int) -> None:
        """Tie a proposal to the running trial that suggests its values one by one."""
        with self._lock:
            self._reserved.pop(id(proposal), None)
            self._assigned[number] = proposal

    def assigned(self, number: int) -> Proposal | None:
        """The proposal whose values a running trial suggests, if it was given one."""
        return self._assigned.get(number)

    def is_open(self, proposal: Proposal) -> bool:
        """Whether a proposal is still reserved, or assigned to a trial that runs."""
        with self._lock:
            return id(proposal) in self._reserved or any(proposal is other for other in self._assigned.values())

    def claim(self, waiting: Iterable[FrozenTrial]) -> FrozenTrial | None:
        """Claim the first of these enqueued trials that nobody in this process has claimed."""
        with self._lock:
            free = next((trial for trial in waiting if trial.number not in self._claimed), None)
            if free is not None:
                self._claimed.add(free.number)
            return free

    def is_claimed(self, number: int) -> bool:
        """Whether an enqueued trial is claimed, and not taken yet."""
        return number in self._claimed

    def unclaim(self, number: int) -> None:
        """Drop a claim: the trial was taken, or waits for somebody else."""
        with self._lock:
            self._claimed.discard(number)

    def add_repair(self, number: int, repair: str) -> None:
        """Keep a repair that was made while a trial ran, to be written when it is told."""
        with self._lock:
            self._repairs.setdefault(number, []).append(repair)

    def close(self, number: int) -> list[str]:
        """Drop the assignment of a trial that is about to be told; returns the repairs made while it ran."""
        with self._lock:
            self._assigned.pop(number, None)
            return self._repairs.pop(number, [])


class UntrackedSpending:
    """What one sampler spent on a study that no trial has on record: asks that are open or failed, and proposals.

    What is about to be recorded counts only once it has been for `ABOUT_TO_SECONDS`: most of it never has to be
    written. `own` are the runs and tokens whose spending this process counts itself, so that it is not counted again
    where trials report it. The account of the client owns the set, and hands it to all that need it. It is only used by
    `add` and `in`, which are atomic: no lock.
    """

    def __init__(self, own: set[str] | None = None) -> None:
        self.own = set() if own is None else own
        self.writing = threading.Lock()  # one write at a time, across its storage call: the newest amount stays
        self._lock = threading.Lock()  # guards what follows, which belongs together; never held across a storage call
        self._total = self._saved = Charge()
        self._expected: dict[int, _Expected] = {}

    def __repr__(self) -> str:
        return f"UntrackedSpending({self._total}, saved {self._saved}, {len(self._expected)} expected on trials)"

    def add(self, charge: Charge) -> None:
        """Add what no trial has on record."""
        with self._lock:
            self._total += charge

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was ever added: the study holds no record of it."""
        total = self._total
        return not (total.requests or total.tokens or total.usd > A_NANODOLLAR or self._expected)

    def expect(self, proposal: Proposal, charge: Charge) -> None:
        """Add what a trial will have on record as soon as the proposal is one."""
        with self._lock:
            self._total += charge
            self._expected[id(proposal.provenance)] = _Expected(charge=charge, since=time.monotonic())

    def give_up(self, proposal: Proposal) -> None:
        """No trial will have a proposal on record: what it took stays untracked."""
        with self._lock:
            self._expected.pop(id(proposal.provenance), None)

    def record(self, proposal: Proposal, charge: Charge) -> None:
        """Subtract what a trial has on record of a proposal."""
        with self._lock:
            self._total -= charge
            self._expected.pop(id(proposal.provenance), None)

    @property
    def is_settled(self) -> bool:
        """Whether the study holds the total, and time alone changes nothing in that."""
        with self._lock:
            coming = self._about_to_be_recorded()
        return not coming and self.unsaved() is None

    def _about_to_be_recorded(self) -> list[Charge]:
        now = time.monotonic()
        return [one.charge for one in self._expected.values() if now - one.since < ABOUT_TO_SECONDS]

    def unsaved(self) -> Charge | None:
        """The total that the study should hold, or None if it does."""
        with self._lock:
            total, saved = self._total, self._saved
            for charge in self._about_to_be_recorded():
                total -= charge
            held = (total.requests, total.tokens) == (saved.requests, saved.tokens)
            return None if held and abs(total.usd - saved.usd) <= A_NANODOLLAR else total

    def mark_saved(self, total: Charge) -> None:
        """The study holds this total now."""
        with self._lock:
            self._saved = total


class SpentHere:
    """What goes through one door into what its sampler spent on the study: a run has a door of its own.

    `untracked` is what no trial of this door has on record. It is below 0 where a trial records what another door paid.
    """

    def __init__(self, spending: UntrackedSpending) -> None:
        self._spending = spending
        self._lock = threading.Lock()  # guards `untracked`, which the LLM loop and the lane add to
        self.untracked = Charge()

    def __repr__(self) -> str:
        return f"SpentHere({self.untracked})"

    def add(self, charge: Charge) -> None:
        """Add what no trial has on record."""
        self._add(charge)
        self._spending.add(charge)

    def expect(self, proposal: Proposal, charge: Charge) -> None:
        """Add what a trial will have on record as soon as the proposal is one."""
        self._add(charge)
        self._spending.expect(proposal, charge)

    def record(self, proposal: Proposal, charge: Charge) -> None:
        """Subtract what a trial has on record of a proposal."""
        self._add(Charge() - charge)
        self._spending.record(proposal, charge)

    def _add(self, charge: Charge) -> None:
        with self._lock:
            self.untracked += charge


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    charge: Charge
    since: float


class Sharing:
    """Who works on a study: this process's place among others, as last judged, and its own runs.

    Every field is replaced, or changed by one atomic call, and read alone: no lock.
    """

    def __init__(self) -> None:
        self.share = ALONE
        self.asking = 1  # processes that ask the same model for the study: they divide its rates
        self.was_shared = False  # whether others have worked on the study since we began; they may be gone again
        self.active_runs: set[str] = set()  # runs of this process that go on
        self.readers: dict[str, Callable[[], object]] = {}  # by run: reads the study, and judges the others by it

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
        self.history = History()
        self._attributes: Mapping[str, Any] = EMPTY
        self.read_at = -math.inf  # when all trials were last read, by the monotonic clock

    def update(self, trials: Sequence[FrozenTrial], attributes: Mapping[str, Any] = EMPTY) -> Snapshot:
        """Take in a reading of all trials, and of the study's user attributes."""
        with self._lock:
            self.history.extend(trials)
            self._attributes = attributes
            self.read_at = time.monotonic()
            return self._snapshot()

    def update_one(self, trial: FrozenTrial) -> bool:
        """Take in a reading of one trial; False if the others must be read as well."""
        with self._lock:
            return self.history.extend_one(trial)

    def age(self) -> float:
        """Seconds since all trials were last read."""
        return time.monotonic() - self.read_at

    def snapshot(self) -> Snapshot:
        """The last reading with what is in flight at this moment; touches no storage."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        history = self.history
        reserved, assigned, asking = self.in_flight.locked_view()
        return Snapshot(
            finished=history.finished,
            running=history.running,
            waiting=history.waiting,
            unevaluated=history.unevaluated,
            space=history.space,
            reserved=reserved,
            assigned=assigned,
            asking=asking,
            attributes=self._attributes,
            share=self.sharing.share,
        )
