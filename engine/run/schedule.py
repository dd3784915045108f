"""Who proposes, who runs, when it ends: a pure machine. Events go in, actions come out; it never awaits.

Invariants (held by a stateful test): running <= n_workers; launched <= n_trials; every proposal that was asked for is
launched, failed or left over exactly once; nothing is asked for after a stop.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import BudgetExhaustedError, NoRoom, OptunaLLMError, ProposalError, SpaceExhausted

C = TypeVar("C")

RATE_FROM = 5
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run was asked to do. `n_trials` None: until something else ends it.

    `max_failure_rate` is the share of failed trials above which the run ends, looked at from `RATE_FROM` trials on.
    `patience` is how long an outage of the model may last before it ends the run, in seconds.
    """

    n_workers: int
    n_trials: int | None = None
    prefetch: int = 0
    max_failed_proposals: int = 3
    max_failure_rate: float | None = None
    patience: float = 600.0


# -- events


@dataclass(frozen=True, slots=True)
class Proposed(Generic[C]):
    """A candidate is ready: a configuration, or a claim on an enqueued trial.

    `sound` False: it holds nothing of the model yet, so it does not end a row of failures.
    """

    candidate: C
    sound: bool = True


@dataclass(frozen=True, slots=True)
class ProposingFailed:
    """A proposal could not be had; `at` is a reading of a monotonic clock, in seconds."""

    error: BaseException
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause is over."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Others may have made room in the study."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A launched trial was told. `error`: its objective raised something that ends the run."""

    error: BaseException | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """A launch found no trial to run: somebody else had claimed the enqueued one."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Ask no more and let running trials finish; `keep_proposing`: those being computed are evaluated too."""

    reason: str
    error: BaseException | None = None
    keep_proposing: bool = False


Event: TypeAlias = Proposed[Any] | ProposingFailed | Resumed | Rechecked | Finished | Missed | StopRequested


# -- actions


class Simple(Enum):
    """Actions without a payload."""

    PROPOSE = "start computing one proposal"
    CANCEL_PROPOSALS = "cancel all proposals that are being computed"
    RECHECK = "in a while, send `Rechecked`"


@dataclass(frozen=True, slots=True)
class Launch(Generic[C]):
    """Make the candidate a trial and run it."""

    candidate: C


@dataclass(frozen=True, slots=True)
class Discard(Generic[C]):
    """Release a candidate that will not be evaluated."""

    candidate: C


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask nothing for so many seconds, then send `Resumed`; `error` is why."""

    seconds: float
    error: BaseException


Action: TypeAlias = Simple | Launch[Any] | Discard[Any] | Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStatistics:
    """Where a schedule stands; `left_over` proposals were paid for and not evaluated."""

    proposing: int
    ready: int
    running: int
    launched: int
    left_over: int
    stop_reason: str | None


@dataclass(slots=True)
class _Outage:
    """Since when the model has not answered, how often it was tried since, and whether we wait before we try again.

    `over`: it has answered meanwhile, in the middle of the wait, which is waited out all the same.
    """

    since: float
    pauses: int = 0
    paused: bool = False
    over: bool = False


class Schedule:
    """The state of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.error: BaseException | None = None
        self._stop: StopRequested | None = None
        self._ready: deque[Any] = deque()
        self._proposing = 0
        self._running = 0
        self._launched = 0
        self._left_over = 0
        self._finished = 0
        self._failed = 0
        self._failed_in_row = 0
        self._outage: _Outage | None = None
        self._full = False
        self._rechecking = False

    def statistics(self) -> ScheduleStatistics:
        """Counts of this moment."""
        return ScheduleStatistics(
            proposing=self._proposing,
            ready=len(self._ready),
            running=self._running,
            launched=self._launched,
            left_over=self._left_over,
            stop_reason=self.stop_reason,
        )

    @property
    def stop_reason(self) -> str | None:
        """Why the run ends, None while it goes on."""
        if self._stop is not None:
            return self._stop.reason
        return "n_trials" if self._remaining() == 0 and not self._pending() else None

    @property
    def done(self) -> bool:
        """Whether nothing is under way and nothing more will be."""
        return self.stop_reason is not None and not self._pending()

    def start(self) -> list[Action]:
        """The first actions."""
        return list(self._fill())

    def handle(self, event: Event) -> list[Action]:
        """Take in one event; returns what to do now, in order."""
        match event:
            case Proposed(candidate, sound):
                self._proposing -= 1
                if sound:
                    self._failed_in_row = 0
                    self._answered()
                self._ready.append(candidate)
            case ProposingFailed(error, at):
                self._proposing -= 1
                if self._stop is not None and not self._stop.keep_proposing:
                    self._left_over += 1  # cancelled by the stop, or failed while it drained
                else:
                    return [*self._judge(error, at), *self._fill()]
            case Resumed():
                if self._outage is not None:
                    self._outage.paused = False
                    self._outage = None if self._outage.over else self._outage
            case Rechecked():
                self._full = self._rechecking = False
            case Finished(error, failed):
                self._running -= 1
                self._full = False
                return [*self._ended(error, failed), *self._fill()]
            case Missed():
                self._running -= 1
                self._launched -= 1
            case StopRequested():
                return [*self._request(event), *self._fill()]
        return list(self._fill())

    def abandon(self) -> list[Any]:
        """Hand out the candidates that are ready, of a run that is cancelled."""
        ready = list(self._ready)
        self._ready.clear()
        self._left_over += len(ready)
        return ready

    def _ended(self, error: BaseException | None, failed: bool) -> Iterator[Action]:
        self._finished += 1
        self._failed += failed
        if error is not None:
            yield from self._judge(error)
            return
        self._failed_in_row = 0
        rate = self.plan.max_failure_rate
        if rate is not None and self._finished >= RATE_FROM and self._failed > rate * self._finished:
            yield from self._request(StopRequested("max_failure_rate"))

    def _judge(self, error: BaseException, at: float | None = None) -> Iterator[Action]:
        """An error ends the run, unless it may pass; `at` is given for one of a proposal."""
        match error:
            case OptunaLLMError(transient=True) if at is not None:
                yield from self._wait_out(error, at)
            case BudgetExhaustedError():
                yield from self._request(StopRequested("budget", keep_proposing=True))
            case NoRoom(final=True):
                yield from self._request(StopRequested("total_trials", keep_proposing=True))
            case NoRoom():
                self._full = True
                if not self._rechecking:
                    self._rechecking = True
                    yield Simple.RECHECK
            case SpaceExhausted():
                yield from self._request(StopRequested("exhausted", keep_proposing=True))
            case ProposalError():
                self._failed_in_row += 1
                if self._failed_in_row >= self.plan.max_failed_proposals:
                    yield from self._request(StopRequested("failed proposals", error))
            case _:
                yield from self._request(StopRequested("error", error))

    def _wait_out(self, error: BaseException, at: float) -> Iterator[Action]:
        """Pause for longer and longer, within `patience`; one proposal tries whether the model is back."""
        if self._outage is None:
            self._outage = _Outage(at)
        outage = self._outage
        outage.over = False
        if outage.paused:
            return
        left = outage.since + self.plan.patience - at
        asked = getattr(error, "retry_after", None) or 0.0
        if left <= 0 or asked > left:
            error.add_note(f"proposals have failed for {at - outage.since:.0f} s (patience={self.plan.patience:g})")
            yield from self._request(StopRequested("error", error))
            return
        outage.paused = True
        yield Pause(max(asked, min(LONGEST_PAUSE, left, 2.0**outage.pauses)), error)
        outage.pauses += 1

    def _answered(self) -> None:
        """The model is there: an outage is over, or will be when its pause is."""
        if self._outage is not None and self._outage.paused:
            self._outage.over = True
        else:
            self._outage = None

    def _request(self, stop: StopRequested) -> Iterator[Action]:
        """Stop: the first gives the reason, the first error is raised, the strictest decides what is cancelled."""
        self.error = self.error or stop.error
        strictest = self._stop is None or (self._stop.keep_proposing and not stop.keep_proposing)
        if not strictest:
            return
        self._stop = StopRequested(self._stop.reason if self._stop else stop.reason, keep_proposing=stop.keep_proposing)
        if not stop.keep_proposing:
            if self._proposing:
                yield Simple.CANCEL_PROPOSALS
            yield from self._discard()

    def _fill(self) -> Iterator[Action]:
        if self._stop is not None and not self._stop.keep_proposing:
            yield from self._discard()
            return
        while self._ready and self._running < self.plan.n_workers:
            self._running += 1
            self._launched += 1
            yield Launch(self._ready.popleft())
        if self._stop is None:
            for _ in range(self._wanted()):
                self._proposing += 1
                yield Simple.PROPOSE

    def _discard(self) -> Iterator[Action]:
        while self._ready:
            self._left_over += 1
            yield Discard(self._ready.popleft())

    def _wanted(self) -> int:
        """How many proposals to start now: one for each idle worker and `prefetch` more, never past `n_trials`."""
        if self._full:
            return 0
        under_way = self._proposing + len(self._ready)
        if self._outage is not None:
            return 0 if self._outage.paused or self._proposing else min(1, self._wanted_otherwise(under_way))
        return self._wanted_otherwise(under_way)

    def _wanted_otherwise(self, under_way: int) -> int:
        wanted = self.plan.n_workers - self._running + self.plan.prefetch - under_way
        remaining = self._remaining()
        return wanted if remaining is None else min(wanted, remaining - under_way)

    def _remaining(self) -> int | None:
        return None if self.plan.n_trials is None else self.plan.n_trials - self._launched

    def _pending(self) -> int:
        return self._proposing + len(self._ready) + self._running
