"""Who works on a study: each run keeps a lease in it, and the others judge by it whether the run still lives.

A lease is a user attribute of the study. On one host the process itself decides, at once. A lease of another host, or
of a process that is hidden from us, is over once we have watched it for `LEASE_EXPIRY` seconds and it did not change.
The time of day decides nothing: clocks differ, and jump.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..process import Process
from ..records import Share
from ..study.attributes import LEASE_PREFIX, RUN_ATTRIBUTE, as_amount, as_count, as_list, run_of

# All in seconds. A write every 15 s costs a storage nothing, and three of them may be lost or late before a run on
# another host is thought dead. We look as often: of a longer time between two looks no more than the last counts, for
# then we stood still, and perhaps those that we watch did too (a paused group of containers, a laptop's lid).
LEASE_REFRESH: Final = 15.0
LEASE_EXPIRY: Final = 60.0
LONGEST_GAP: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One run's claim to be alive, written `at` (seconds since the epoch, by the writer's clock).

    `model` is what its rates are for, None if it asks no model. `taking` are the numbers of enqueued trials that the
    run is about to take, because they cannot carry its id from the first moment on. `ended`: the run is over, and what
    it did stands in the place of its lease.
    """

    run: str
    process: Process
    at: float
    model: str | None = None
    taking: tuple[int, ...] = ()
    ended: bool = False

    @property
    def name(self) -> str:
        """The study attribute that holds it."""
        return f"{LEASE_PREFIX}{self.run}"

    def document(self) -> dict[str, Any]:
        """The attribute's value while the run lives; `runs.end_document` takes its place."""
        return {**asdict(self.process), "at": round(self.at, 1), "model": self.model, "taking": list(self.taking)}


def leases_in(attributes: Mapping[str, Any]) -> Iterator[Lease]:
    """The leases among a study's user attributes; skips what cannot be read."""
    for name, value in attributes.items():
        if name.startswith(LEASE_PREFIX) and isinstance(value, Mapping):
            lease = _lease(name.removeprefix(LEASE_PREFIX), value)
            if lease is not None:
                yield lease


def _lease(run: str, value: Mapping[str, Any]) -> Lease | None:
    """A lease as `Lease.document` writes it, newer fields aside; None for anything else."""
    if value.get("ended"):
        return Lease(run=run, process=Process(host="", pid=0, started=""), at=0.0, ended=True)
    host, started, model = value.get("host"), value.get("started"), value.get("model")
    pid, at = as_amount(value.get("pid")), as_amount(value.get("at"))
    if not (isinstance(host, str) and isinstance(started, str) and isinstance(model, str | None)):
        return None
    if pid is None or at is None:
        return None
    taking = tuple(as_count(number) for number in as_list(value.get("taking")) if as_amount(number) is not None)
    return Lease(run=run, process=Process(host=host, pid=int(pid), started=started), at=at, model=model, taking=taking)


class Watch:
    """Judges leases over time, by a monotonic clock of this host, in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, Lease] = {}
        self._since: dict[str, float] = {}  # for how long we had watched when each was first seen as it is
        self._watched = 0.0
        self._last = math.inf

    def living(self, leases: Iterable[Lease], *, ticks: float) -> dict[str, bool]:
        """Which runs live, by run; `ticks` is when the reading of `leases` began."""
        self._watched += min(max(0.0, ticks - self._last), LONGEST_GAP)
        self._last = ticks if math.isinf(self._last) else max(ticks, self._last)
        return {lease.run: self._lives(lease) for lease in leases}

    def _lives(self, lease: Lease) -> bool:
        if lease.ended:
            return False
        if self._seen.get(lease.run) != lease:
            self._seen[lease.run], self._since[lease.run] = lease, self._watched
        alive = lease.process.is_alive()
        return self._watched - self._since[lease.run] < LEASE_EXPIRY if alive is None else alive


def leased(running: Iterable[FrozenTrial], leases: Sequence[Lease]) -> list[FrozenTrial]:
    """The RUNNING trials of the runs that keep, or kept, these leases."""
    runs = {lease.run for lease in leases}
    taken = {number for lease in leases for number in lease.taking}

    def is_leased(trial: FrozenTrial) -> bool:
        unsigned = RUN_ATTRIBUTE not in trial.system_attrs  # perhaps popped by a run that could not sign it yet
        return (unsigned and trial.number in taken) or run_of(trial) in runs

    return list(filter(is_leased, running))


def share_of(process: Process, leases: Iterable[Lease], living: Mapping[str, bool]) -> Share:
    """The process's place among the living ones that keep these leases."""
    there = {lease.process for lease in leases if living[lease.run]}
    ordered = sorted(there | {process}, key=lambda one: (one.host, one.pid, one.started))
    return Share(place=ordered.index(process), processes=len(ordered))
