"""What is in flight in this process and not in storage yet: proposals on their way to a trial, and claims on trials."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from optuna.trial import FrozenTrial

from ..records import Proposal


class InFlight:
    """The proposals and claims of all runs and threads that work on one study through one sampler.

    A proposal is *reserved* from its acceptance until it is a trial or given up, and *assigned* to its trial for as
    long as the trial may still suggest its values. An enqueued trial is *claimed* by whoever completes it.
    """

    def __init__(self, lock: threading.Lock) -> None:
        # Guards every field. `StudyState` shares it with the history, so that a snapshot shows each proposal once: as
        # a reservation, or as a trial. Never held across a storage call.
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

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a proposal that is being computed, so that those being computed at the same moment know of it."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1

    def reserve(self, proposal: Proposal) -> None:
        """Show an accepted proposal in every snapshot until it is a trial or released."""
        with self._lock:
            self._reserved[id(proposal)] = proposal

    def is_reserved(self, proposal: Proposal) -> bool:
        """Whether a proposal is neither a trial nor given up."""
        with self._lock:
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
        with self._lock:
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
        with self._lock:
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
