"""What the runs of a study did: each writes it in the place of its lease when it ends, and anybody reads it.

For a run that died, whoever cleans up after it writes what its lease and its trials tell.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..study.attributes import LEASE_PREFIX, as_amount, is_reaped, run_of
from .leases import LEASE_REFRESH, Lease, leases_in

UNKNOWN: Final = "unknown"
RUNNING: Final = "running"
DIED: Final = "died"
_COUNTS: Final = {
    "n_complete": TrialState.COMPLETE,
    "n_pruned": TrialState.PRUNED,
    "n_failed": TrialState.FAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run did, in `seconds` of wall time; `ended` is local time without a zone, as Optuna's times are.

    `stop_reason` is that of its `RunReport`. Of a run that has written none it is "running" if its process lives on
    this host, "died" if that is gone, or another run has seen that it is and cleaned up after it, and else "unknown":
    it works on another host, or was killed there. A run that died `ended` at its last sign of life. All else that is
    unknown is None.
    """

    run: str
    stop_reason: str
    seconds: float | None = None
    n_complete: int | None = None
    n_pruned: int | None = None
    n_failed: int | None = None
    ended: datetime | None = None


def end_document(*, stop_reason: str, seconds: float, n_complete: int, n_pruned: int, n_failed: int) -> dict[str, Any]:
    """What is written of a run that ends now; it also says to the others that its lease is over."""
    return {
        "ended": round(time.time(), 3),  # in milliseconds: runs may follow each other within a tenth of a second
        "stop_reason": stop_reason,
        "seconds": round(seconds, 3),
        "n_complete": n_complete,
        "n_pruned": n_pruned,
        "n_failed": n_failed,
    }


def death_document(lease: Lease, trials: Iterable[FrozenTrial]) -> dict[str, Any]:
    """What is written of a run that died: its last sign of life for its end, and what the finished trials say of it."""
    own = [trial for trial in trials if run_of(trial) == lease.run]
    states = Counter(trial.state for trial in own)
    signs = [at.timestamp() for trial in own if not is_reaped(trial) and (at := trial.datetime_complete) is not None]
    # trials have their writer's local time: where that is not ours, the lease alone counts
    last = max((at for at in signs if lease.at < at < lease.at + 2 * LEASE_REFRESH), default=lease.at)
    return {"ended": round(last, 3), "stop_reason": DIED, **{name: states[state] for name, state in _COUNTS.items()}}


def runs_of(study: Study) -> list[RunRecord]:
    """The runs of a study by this engine, in the order in which they ended, then those that wrote no end."""
    attributes = study.user_attrs
    open_leases = [lease for lease in leases_in(attributes) if not lease.ended]
    lives = {lease.run: lease.process.is_alive() for lease in open_leases}
    gone = [lease for lease in open_leases if lives[lease.run] is False]
    trials = study.get_trials(deepcopy=False) if gone else ()
    deaths = {lease.name: death_document(lease, trials) for lease in gone}
    return sorted(_records({**attributes, **deaths}, lives), key=_order)


def _order(run: RunRecord) -> tuple[float, str]:
    return math.inf if run.ended is None else run.ended.timestamp(), run.run


def _records(attributes: Mapping[str, Any], lives: Mapping[str, bool | None]) -> Iterator[RunRecord]:
    for name, value in attributes.items():
        if name.startswith(LEASE_PREFIX) and isinstance(value, Mapping):
            run = name.removeprefix(LEASE_PREFIX)
            yield _record(run, value, otherwise=RUNNING if lives.get(run) else UNKNOWN)


def _record(run: str, end: Mapping[str, Any], *, otherwise: str) -> RunRecord:
    reason, counts = end.get("stop_reason"), {name: as_amount(end.get(name)) for name in _COUNTS}
    return RunRecord(
        run=run,
        stop_reason=reason if isinstance(reason, str) and reason else otherwise,
        seconds=as_amount(end.get("seconds")),
        ended=_local_time(as_amount(end.get("ended"))),
        **{name: None if count is None else int(count) for name, count in counts.items()},
    )


def _local_time(at: float | None) -> datetime | None:
    """The local time of so many seconds since the epoch; None where no calendar has it."""
    try:
        return None if at is None else datetime.fromtimestamp(at)  # noqa: DTZ006  # as Optuna's times are
    except (OverflowError, OSError, ValueError):
        return None
