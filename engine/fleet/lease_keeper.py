"""Keeps one run's lease, and fails the trials of runs that died; on a thread of its own, for a loop may be busy."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..foreign_text import summary
from ..logs import get_logger
from ..process import this_process
from ..records import ALONE
from ..study.attributes import LEASE_PREFIX
from ..study.door import StudyDoor
from ..study.snapshot import Snapshot
from .dead_trials import owed_retries, reap
from .leases import LEASE_REFRESH, Lease, Watch, leased, leases_in, share_of
from .runs import death_document

# In seconds. Giving way takes the rival one storage call; if it has not by then, it hangs, and both leave the trial.
CONFLICT_SECONDS: Final = 5.0
CONFLICT_POLL: Final = 0.02

# Runs of this process that are over although their leases do not say so: while they are told, and for good if the
# storage could not be told, for the process lives on. Only added to, discarded from and asked with `in`, all atomic.
_ended: set[str] = set()

logger = get_logger("optuna_llm.engine")


class LeaseKeeper:
    """One run's lease on one study. Everything but `start` and `stop` may be called from any thread."""

    def __init__(self, door: StudyDoor, *, run: str, model: str | None = None, retries: int = 0) -> None:
        self.door = door
        self.run = run
        self._model = model
        self._retries = retries
        self._watch = Watch()
        self._taking: set[int] = set()
        # One writing or judging at a time, so that the last one to end is also the newest; held across storage calls.
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._leases: Sequence[Lease] = ()  # as last judged

    def __repr__(self) -> str:
        state = "over" if self._over.is_set() else "kept" if self._thread else "new"
        return f"LeaseKeeper(run={self.run!r}, {state}, taking={sorted(self._taking)})"

    def start(self) -> None:
        """Write the lease, fail what the dead left behind, and go on doing so."""
        self.write()
        self.reap_dead()
        self.door.sharing.readers[self.run] = self.refresh
        self._thread = threading.Thread(target=self._keep, name="optuna-llm lease", daemon=True)
        self._thread.start()

    def retire(self) -> None:
        """Refresh the lease no more, and count it as ended in this process; touches no storage."""
        self._over.set()
        self.door.sharing.readers.pop(self.run, None)
        _ended.add(self.run)

    def stop(self, end: Mapping[str, Any]) -> None:
        """Retire, and write what the run did; where that raises, the lease expires elsewhere, or ends with its process.

        `end` is an `end_document`: the others see by it that the run is over.
        """
        self.retire()
        with self._lock:
            self.door.sharing.update(ALONE)  # after the lock: whoever was judging has said otherwise before
            self.door.write_attribute(f"{LEASE_PREFIX}{self.run}", dict(end))
        _ended.discard(self.run)

    def refresh(self) -> Snapshot:
        """Read the study, and judge the leases in what was read, unless that is being done at this moment."""
        ticks, snapshot = time.monotonic(), self.door.refresh()
        if self._lock.acquire(blocking=False):
            try:
                if snapshot.attributes and not self._over.is_set():
                    self._judge(snapshot.attributes, ticks)
            finally:
                self._lock.release()
        return snapshot

    def reap_dead(self) -> int:
        """Read and judge the leases, and fail the trials of dead runs; returns how many.

        Whatever they were to enqueue anew, and did not, is enqueued as well. That they died is written at the end:
        until then their leases say what else was theirs.
        """
        with self._lock:
            if self._over.is_set():
                return 0
            self._leases, living = self._read_and_judge()
            dead = [lease for lease in self._leases if not living[lease.run]]
            now = self.door.refresh()
        for trial in owed_retries(now, self._retries, lambda run: living.get(run, False)):
            self._retry(trial)
        reaped = sum(reap(self.door, trial, self._retries, by=self.run) for trial in leased(now.running, dead))
        for lease in dead:
            if not lease.ended and lease.run not in _ended:  # a run of this process knows better what it did
                self._note_death(lease)
        return reaped

    def _note_death(self, lease: Lease) -> None:
        """Write that a run died, in the place of its lease, unless that has changed: a run that lives renews it."""
        if lease in leases_in(self.door.read_attributes()):
            self.door.write_attribute(lease.name, death_document(lease, self.door.snapshot().finished))

    def _retry(self, trial: FrozenTrial) -> None:
        """Enqueue anew what a dead run did not come to, unless another run is about to."""
        if self.may_take(trial.number, lambda: not self.door.refresh().is_repeated(trial.number)):
            try:
                self.door.retry(trial, self._retries)
            finally:
                self.forget_taking(trial.number)
            logger.warning("Enqueued trial %d anew: the run that failed it ended before it could", trial.number)

    def with_lease(self, running: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """The RUNNING trials that end some day: their run lived when last judged, or will be seen to be dead."""
        return leased(running, self._leases)

    def _read_and_judge(self) -> tuple[list[Lease], dict[str, bool]]:
        ticks = time.monotonic()  # before the reading: it may take long, or we be stopped within it
        return self._judge(self.door.read_attributes(), ticks)

    def _judge(self, attributes: Mapping[str, Any], ticks: float) -> tuple[list[Lease], dict[str, bool]]:
        """The leases, read from `ticks` on, and which runs live; updates the door's `sharing`."""
        leases = list(leases_in(attributes))
        living = self._watch.living(leases, ticks=ticks)
        living = {run: alive and run not in _ended for run, alive in living.items()} | {self.run: True}
        process = this_process()
        rivals = [lease for lease in leases if lease.model == self._model]
        self.door.sharing.update(share_of(process, leases, living), asking=share_of(process, rivals, living).processes)
        return leases, living

    # -- taking an enqueued trial

    def may_take(self, number: int, still_waiting: Callable[[], bool]) -> bool:
        """Announce that we are about to take an enqueued trial, and check whether another run announces it too.

        Both write before they look, so at least one of them sees the other; whoever sees a smaller id gives way, and
        the smaller waits until the other has given way or taken it. So one trial is taken once, even on storages
        that would give it to two.
        """
        self._taking.add(number)
        self.write()
        until = time.monotonic() + CONFLICT_SECONDS
        while still_waiting():
            rivals = self._rivals(number)
            if not rivals:
                return still_waiting()
            if min(rivals) < self.run or time.monotonic() > until:
                break
            time.sleep(CONFLICT_POLL)
        self._taking.discard(number)
        self.write()
        return False

    def forget_taking(self, number: int) -> None:
        """The trial bears our id now, or was not to be had; the next refresh of the lease says so."""
        self._taking.discard(number)

    def _rivals(self, number: int) -> list[str]:
        with self._lock:
            leases, living = self._read_and_judge()
        return [lease.run for lease in leases if lease.run != self.run and number in lease.taking and living[lease.run]]

    # -- inside

    def _keep(self) -> None:
        while not self._over.wait(LEASE_REFRESH):
            try:
                self.write()
                self.reap_dead()
            except Exception as error:
                logger.warning(
                    "The lease of run %s could not be refreshed (%s); trying again", self.run, summary(error)
                )

    def write(self) -> None:
        """Write the lease as it is now, unless the run is over."""
        with self._lock:
            if not self._over.is_set():
                taking = tuple(sorted(self._taking))
                lease = Lease(run=self.run, process=this_process(), at=time.time(), model=self._model, taking=taking)
                self.door.write_attribute(lease.name, lease.document())
