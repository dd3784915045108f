"""Who works on a study: each run keeps a lease in it, and the others judge by it whether the run still lives.

A lease is a user attribute of the study. On one host the process itself decides, at once. A lease of another host is
over once it has not changed for `LEASE_EXPIRY` seconds; clocks that differ make nobody dead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..process import Process
from ..records import Share
from ..study.attributes import LEASE_PREFIX, RUN_ATTRIBUTE, run_of

# All in seconds. A write every 15 s costs a storage nothing, and three of them may be lost or late before a run on
# another host is thought dead. A lease that looks old when it is first seen may be of a host whose clock is behind: it
# is given one refresh, and a little more, to change.
LEASE_REFRESH: Final = 15.0
LEASE_EXPIRY: Final = 60.0
FIRST_REFRESH_DUE: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One run's claim to be alive, written `at` (seconds since the epoch, by the writer's clock).

    `model` is what its rates are for, None if it asks no model. `taking` are the numbers of enqueued trials that the
    run is about to take, because they cannot carry its id from the first moment on. `ended`: the run is over.
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
        """The attribute's value: as short as can be once the run has ended, for it stays."""
        if self.ended:
            return {"ended": True}
        return {**asdict(self.process), "at": round(self.at, 1), "model": self.model, "taking": list(self.taking)}


def leases_in(attributes: Mapping[str, Any]) -> Iterator[Lease]:
    """The leases among a study's user attributes; skips what cannot be read."""
    for name, value in attributes.items():
        if name.startswith(LEASE_PREFIX) and isinstance(value, Mapping):
            try:
                yield _lease(name.removeprefix(LEASE_PREFIX), value)
            except (KeyError, TypeError, ValueError):
                continue


def _lease(run: str, value: Mapping[str, Any]) -> Lease:
    if value.get("ended"):
        return Lease(run=run, process=Process(host="", pid=0, started=""), at=0.0, ended=True)
    process = Process(host=value["host"], pid=int(value["pid"]), started=value["started"])
    taking = tuple(int(number) for number in value["taking"])
    return Lease(run=run, process=process, at=float(value["at"]), model=value["model"], taking=taking)


class Watch:
    """Judges leases over time, by two clocks of this host: the time of day, and a monotonic one, in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, Lease] = {}
        self._since: dict[str, float] = {}  # when each was first seen as it is

    def living(self, leases: Iterable[Lease], *, now: float, ticks: float) -> dict[str, bool]:
        """Which runs live, by run."""
        return {lease.run: self._lives(lease, now, ticks) for lease in leases}

    def _lives(self, lease: Lease, now: float, ticks: float) -> bool:
        if lease.ended:
            return False
        if self._seen.get(lease.run) != lease:
            self._seen[lease.run], self._since[lease.run] = lease, ticks
        alive = lease.process.is_alive()
        if alive is not None:
            return alive
        unchanged = ticks - self._since[lease.run]
        return unchanged < LEASE_EXPIRY and (now - lease.at < LEASE_EXPIRY or unchanged < FIRST_REFRESH_DUE)


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
