"""What the runs of a study did: each writes it in the place of its lease when it ends, and anybody reads it."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from optuna.study import Study

from ..study.attributes import LEASE_PREFIX, as_amount
from .leases import leases_in

UNKNOWN: Final = "unknown"
RUNNING: Final = "running"
_COUNTS: Final = ("n_complete", "n_pruned", "n_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run did, in `seconds` of wall time; `ended` is local time without a zone, as Optuna's times are.

    `stop_reason` is that of its `RunReport`. Of a run that has written none it is "running" if its process lives on
    this host, else "unknown": it was killed, its storage was away when it ended, or it works on another host. All else
    that is unknown is None.
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


def runs_of(study: Study) -> list[RunRecord]:
    """The runs of a study by this engine, in the order in which they ended, then those that wrote no end."""
    attributes = study.user_attrs
    lives = {lease.run: not lease.ended and lease.process.is_alive() is True for lease in leases_in(attributes)}
    return sorted(_records(attributes, lives), key=_order)


def _order(run: RunRecord) -> tuple[float, str]:
    return math.inf if run.ended is None else run.ended.timestamp(), run.run


def _records(attributes: Mapping[str, Any], lives: Mapping[str, bool]) -> Iterator[RunRecord]:
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
