"""Keeps one run's lease, and ends the trials of runs that died; on a thread of its own, for a loop may be busy."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from ..process import this_process
from ..records import ALONE
from ..study.door import StudyDoor
from .dead_trials import reap
from .leases import REFRESH, Lease, Watch, leased, leases_in, orphans, share_of

CONFLICT_SECONDS: Final = 5.0
CONFLICT_POLL: Final = 0.02

_ended: set[str] = set()  # runs of this process that have ended, whether the storage could be told or not

logger = logging.getLogger("optuna_llm.engine")


def shared_by_processes(door: StudyDoor) -> bool:
    """Whether other processes can work on a study at all; what is in memory dies with its process."""
    return not isinstance(door.study._storage, InMemoryStorage)


class Keeper:
    """One run's lease on one study. Everything but `start` and `stop` may be called from any thread."""

    def __init__(self, door: StudyDoor, *, run: str, model: str | None = None, retries: int = 0) -> None:
        self.door = door
        self.run = run
        self._model = model
        self._retries = retries
        self._watch = Watch()
        self._taking: set[int] = set()
        self._lock = threading.Lock()  # one writing or judging at a time; held across storage calls
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._leases: Sequence[Lease] = ()  # as of the last look

    def __repr__(self) -> str:
        state = "over" if self._over.is_set() else "kept" if self._thread else "new"
        return f"Keeper(run={self.run!r}, {state}, taking={sorted(self._taking)})"

    def start(self) -> int:
        """Write the lease, end what the dead left behind, and go on doing so; returns how many trials that were."""
        self._write()
        reaped = self.look()
        self._thread = threading.Thread(target=self._keep, name="optuna-llm lease", daemon=True)
        self._thread.start()
        return reaped

    def leave(self) -> None:
        """The run is over: its lease is not refreshed any more, and does not count here; touches no storage."""
        self._over.set()
        _ended.add(self.run)

    def stop(self) -> None:
        """Take leave; where that cannot be written, the lease expires elsewhere, or ends with its process."""
        self.leave()
        try:
            with self._lock:
                self.door.ledger.share(ALONE)  # whoever was judging meanwhile has said otherwise before
                self._put(Lease(run=self.run, process=this_process(), at=0.0, ended=True))
        except Exception:
            logger.warning("The storage did not take the end of run %s", self.run, exc_info=True)

    def look(self) -> int:
        """Judge the others; returns how many of their trials were ended."""
        with self._lock:
            if self._over.is_set():
                return 0
            leases, living = self._judged(self._attributes())
            study = self.door.study
            running = study._storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.RUNNING,))
            found = orphans(running, leases, living) if running else []
            self._leases = leases
        return sum(reap(self.door, trial, self._retries) for trial in found)

    def held(self, running: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """The RUNNING trials that end some day: their run lived at the last look, or its end is seen at the next."""
        return leased(running, self._leases)

    def _judged(self, attributes: Mapping[str, Any]) -> tuple[list[Lease], dict[str, bool]]:
        """The leases and who of them lives; tells the ledger with how many we share the study."""
        leases = list(leases_in(attributes))
        living = self._watch.living(leases, now=time.time(), ticks=time.monotonic())
        living.update(dict.fromkeys(_ended & living.keys(), False))
        living[self.run] = True
        asking = [lease for lease in leases if lease.model == self._model]
        process = this_process()
        self.door.ledger.share(share_of(process, leases, living), asking=share_of(process, asking, living).processes)
        return leases, living

    def heard(self, attributes: Mapping[str, Any]) -> None:
        """Somebody has read the study's attributes anyway."""
        if self._lock.acquire(blocking=False):  # else it is being looked at, just now
            try:
                if not self._over.is_set():
                    self._judged(attributes)
            finally:
                self._lock.release()

    # -- taking an enqueued trial

    def may_take(self, number: int, still_waiting: Callable[[], bool]) -> bool:
        """Say that we are about to take an enqueued trial, and see whether another run says so too.

        Both write before they look, so at least one of them sees the other; whoever sees a smaller id gives way, and
        the smaller waits until the other has given way or taken it. So one trial is taken once, even on storages
        that would give it to two.
        """
        self._taking.add(number)
        self._write()
        until = time.monotonic() + CONFLICT_SECONDS
        while still_waiting():
            rivals = self._rivals(number)
            if not rivals:
                return still_waiting()
            if min(rivals) < self.run or time.monotonic() > until:
                break
            time.sleep(CONFLICT_POLL)
        self._taking.discard(number)
        self._write()
        return False

    def took(self, number: int) -> None:
        """It bears our id now, or was not to be had; the next writing of the lease says so."""
        self._taking.discard(number)

    def _rivals(self, number: int) -> list[str]:
        with self._lock:
            leases, living = self._judged(self._attributes())
        return [lease.run for lease in leases if lease.run != self.run and number in lease.taking and living[lease.run]]

    # -- inside

    def _keep(self) -> None:
        while not self._over.wait(REFRESH):
            try:
                self._write()
                self.look()
            except Exception:
                logger.warning("The lease of run %s could not be refreshed; trying again", self.run, exc_info=True)

    def _write(self) -> None:
        with self._lock:
            if not self._over.is_set():
                taking = tuple(sorted(self._taking))
                lease = Lease(run=self.run, process=this_process(), at=time.time(), model=self._model, taking=taking)
                self._put(lease)

    def _put(self, lease: Lease) -> None:
        self.door.study._storage.set_study_user_attr(self.door.study._study_id, lease.name, lease.document())

    def _attributes(self) -> dict[str, Any]:
        study = self.door.study
        return dict(study._storage.get_study_user_attrs(study._study_id))
