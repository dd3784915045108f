"""Who proposes, who runs, when it ends: a pure machine. Events go in, actions come out; it never awaits.

Invariants (held by a stateful test): running <= n_workers; launched <= n_trials; every proposal that was asked for is
launched, failed or left over exactly once; nothing is asked for after a stop.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ..arguments import number
from ..errors import BudgetExhaustedError, NoRoom, OptunaLLMError, ProposalError, SpaceExhausted

C = TypeVar("C")

# A rate of fewer trials says little: the first failure alone would be 100 %.
MIN_TRIALS_FOR_RATE: Final = 5
# First trials that all fail alike say that the place is broken, and not their configurations. A model that reads why
# the others failed hardly stays in an infeasible corner for ten; and each worker has had two.
FAILED_ALIKE: Final = 10
FAILED_ALIKE_PER_WORKER: Final = 2
# Seconds. A service that is back after an hour's outage should not stay unused for long.
LONGEST_ASK_PAUSE: Final = 60.0
# Seconds in place of `patience` where nothing has ever answered. With the last attempt, 30 s at most.
UNREACHED_PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How many trials a run wants, side by side and in all, and what ends it early. `n_trials` None: no end of its own.

    `max_failure_rate` is the share of failed trials above which the run ends, from `MIN_TRIALS_FOR_RATE` trials on.
    Without it, and without `n_trials`, failures alone would never end a run that `pays` for proposals: it ends when its
    first trials all failed alike. `patience` is how long an outage of the model may last before it ends the run, in
    seconds.
    """

    n_workers: int
    n_trials: int | None = None
    prefetch: int = 0
    max_failed_proposals: int = 3
    max_failure_rate: float | None = None
    patience: float = 600.0
    pays: bool = False

    @property
    def most_failed_alike(self) -> int | None:
        """How many first trials may fail alike; None where that ends no run."""
        if not self.pays or self.n_trials is not None or self.max_failure_rate is not None:
            return None
        return max(FAILED_ALIKE, FAILED_ALIKE_PER_WORKER * self.n_workers)

    def __post_init__(self) -> None:
        number("n_workers", self.n_workers, low=1, whole=True)
        number("n_trials", self.n_trials, whole=True, optional=True)
        number("prefetch", self.prefetch, whole=True)
        number("max_failed_proposals", self.max_failed_proposals, low=1, whole=True)
        number("max_failure_rate", self.max_failure_rate, high=1, optional=True)
        number("patience", self.patience, unit=" of seconds")


# -- events


@dataclass(frozen=True, slots=True)
class Proposed(Generic[C]):
    """A candidate is ready; without content, it does not end a row of failures."""

    candidate: C
    has_content: bool = True


@dataclass(frozen=True, slots=True)
class ProposingFailed:
    """No candidate could be had; `at` is a reading of a monotonic clock, in seconds, and `began` that of its start.

    `foreign`: the error is about another study, which the model uses.
    """

    error: BaseException
    at: float = 0.0
    foreign: bool = False
    began: float | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause is over."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Other runs may have left a place in the study."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A launched trial was told. `error` is given if it ends the run; `foreign`: it is the objective's own.

    `kind` is the type of the failure of a trial that `failed` by itself, None if somebody ended it.
    """

    error: BaseException | None = None
    failed: bool = False
    foreign: bool = False
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A launch made no trial: another run took the enqueued one, the configuration or the last place."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Ask no more and let running trials finish; `keep_proposing`: those being computed are evaluated too."""

    reason: str
    error: BaseException | None = None
    keep_proposing: bool = False


Event: TypeAlias = Proposed[Any] | ProposingFailed | Resumed | Rechecked | Finished | Missed | StopRequested


# -- actions


@dataclass(frozen=True, slots=True)
class Propose:
    """Start computing one proposal.

    `left`: how many trials are still to begin, less those for which a proposal is ready or was begun before; this one
    included. None without an `n_trials`.
    """

    left: int | None = None


@dataclass(frozen=True, slots=True)
class CancelProposals:
    """Cancel all proposals that are being computed."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """In a while, send `Rechecked`."""


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
    """Ask nothing for `seconds`, then send `Resumed`; `error` is why."""

    seconds: float
    error: BaseException


Action: TypeAlias = Propose | CancelProposals | Recheck | Launch[Any] | Discard[Any] | Pause


@dataclass(slots=True)
class _Outage:
    """The model has not answered since `since`; `paused` while nothing is asked.

    `answered`: an answer came during the pause. The pause is waited out all the same.
    """

    since: float
    pauses: int = 0
    paused: bool = False
    answered: bool = False


class Schedule:
    """The state of one run.

    `done`: nothing is under way, and nothing more will be. `left_over` proposals were paid for and not evaluated. An
    `error` ends the run.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.error: BaseException | None = None
        self.done = False
        self.ready: deque[Any] = deque()
        self.proposing = 0
        self.running = 0
        self.launched = 0
        self.left_over = 0
        self._stop: StopRequested | None = None
        self._finished = 0
        self._failed = 0
        self._failed_in_row = 0
        self._failures: Counter[str] = Counter()  # by their type
        self._all_alike = True
        self._outage: _Outage | None = None
        self._no_room = False
        self._rechecking = False

    @property
    def stop_reason(self) -> str | None:
        """Why the run ends, None while it goes on; `RunReport` lists the reasons."""
        if self._stop is not None:
            return self._stop.reason
        return "n_trials" if self._remaining() == 0 and not self._under_way() else None

    def start(self) -> list[Action]:
        """Return the first actions."""
        return self._go_on(())

    def handle(self, event: Event) -> list[Action]:
        """Take in one event; return what to do now, in order."""
        return self._go_on(self._take_in(event))

    def _go_on(self, first: Iterable[Action]) -> list[Action]:
        actions = [*first, *self._next_actions()]
        self.done = self.stop_reason is not None and not self._under_way()
        return actions

    # -- taking in an event

    def _take_in(self, event: Event) -> Iterator[Action]:
        match event:
            case Proposed(candidate, has_content):
                self.proposing -= 1
                if has_content:
                    self._failed_in_row = 0
                    if self._outage is not None and self._outage.paused:
                        self._outage.answered = True  # the outage ends with its pause
                    else:
                        self._outage = None
                self.ready.append(candidate)
            case ProposingFailed(error, at, foreign, began):
                self.proposing -= 1
                if self._stop is not None and not self._stop.keep_proposing:
                    self.left_over += 1  # cancelled by the stop, or failed while the run drained
                else:
                    yield from self._judge(error, at, foreign=foreign, began=began)
            case Resumed():
                if self._outage is not None:
                    self._outage.paused = False
                    self._outage = None if self._outage.answered else self._outage
            case Rechecked():
                self._no_room = self._rechecking = False
            case Finished():
                self.running -= 1
                self._no_room = False
                yield from self._finish_trial(event)
            case Missed():
                self.running -= 1
                self.launched -= 1
            case StopRequested():
                yield from self._request_stop(event)

    def _finish_trial(self, trial: Finished) -> Iterator[Action]:
        self._finished += 1
        self._failed += trial.failed
        if trial.error is not None:
            yield from self._judge(trial.error, foreign=trial.foreign)
            return
        self._failed_in_row = 0
        rate = self.plan.max_failure_rate
        if rate is not None and self._finished >= MIN_TRIALS_FOR_RATE and self._failed > rate * self._finished:
            yield from self._request_stop(StopRequested("max_failure_rate"))
        if self._all_failed_alike(trial):
            yield from self._request_stop(StopRequested("all_failed"))

    def _all_failed_alike(self, trial: Finished) -> bool:
        """Whether as many trials as may have failed in the same way, and none ended otherwise."""
        if trial.kind is not None:
            self._failures[trial.kind] += 1
        self._all_alike = self._all_alike and trial.failed and len(self._failures) <= 1
        most = self.plan.most_failed_alike
        return self._all_alike and most is not None and self._failures.total() >= most

    def _judge(
        self, error: BaseException, at: float | None = None, *, foreign: bool, began: float | None = None
    ) -> Iterator[Action]:
        """Stop because of an error, unless it may pass; `at` is None for an error of a trial.

        What is `foreign` says nothing about our own asking, whatever its type.
        """
        match error:
            case _ if foreign:
                yield from self._request_stop(StopRequested("error", error))
            case OptunaLLMError(transient=True) if at is not None:
                yield from self._wait_out(error, at, began)
            case BudgetExhaustedError():
                yield from self._request_stop(StopRequested("budget", keep_proposing=True))
            case NoRoom(final=True, reached=reached):
                reason = "total_trials" if reached else "occupied"
                yield from self._request_stop(StopRequested(reason, keep_proposing=True))
            case NoRoom():
                if not self._rechecking:
                    yield Recheck()
                self._no_room = self._rechecking = True
            case SpaceExhausted():
                yield from self._request_stop(StopRequested("exhausted", keep_proposing=True))
            case ProposalError():
                self._failed_in_row += 1
                if self._failed_in_row >= self.plan.max_failed_proposals:
                    yield from self._request_stop(StopRequested("failed proposals", error))
            case _:
                yield from self._request_stop(StopRequested("error", error))

    def _wait_out(self, error: BaseException, at: float, began: float | None) -> Iterator[Action]:
        """Pause with exponential backoff, within `patience`; after each pause one proposal tries the model.

        Where nothing has ever answered, asking itself counts as well, and patience is short.
        """
        unreached = getattr(error, "unreached", False)
        if self._outage is None:
            self._outage = _Outage(at if began is None or not unreached else began)
        outage = self._outage
        outage.answered = False
        if outage.paused:
            return
        patience = min(self.plan.patience, UNREACHED_PATIENCE) if unreached else self.plan.patience
        left = outage.since + patience - at
        asked = getattr(error, "retry_after", None) or 0.0
        if left <= 0 or asked > left:
            error.add_note(f"proposals have failed for {at - outage.since:.0f} s (patience={patience:g})")
            yield from self._request_stop(StopRequested("error", error))
            return
        outage.paused = True
        yield Pause(max(asked, min(LONGEST_ASK_PAUSE, left, 2.0**outage.pauses)), error)
        outage.pauses += 1

    def _request_stop(self, stop: StopRequested) -> Iterator[Action]:
        """Stop: the first gives the reason, the first error is raised, the strictest decides what is cancelled."""
        self.error = self.error or stop.error
        if self._stop is not None and not (self._stop.keep_proposing and not stop.keep_proposing):
            return
        self._stop = StopRequested(self._stop.reason if self._stop else stop.reason, keep_proposing=stop.keep_proposing)
        if self.proposing and not stop.keep_proposing:
            yield CancelProposals()

    # -- what to do next

    def _next_actions(self) -> Iterator[Action]:
        if self._stop is not None and not self._stop.keep_proposing:
            while self.ready:
                self.left_over += 1
                yield Discard(self.ready.popleft())
        while self.ready and self.running < self.plan.n_workers:
            self.running += 1
            self.launched += 1
            yield Launch(self.ready.popleft())
        if self._stop is None:
            for _ in range(self._n_to_propose()):
                remaining = self._remaining()
                yield Propose(None if remaining is None else remaining - self._ahead())
                self.proposing += 1

    def _n_to_propose(self) -> int:
        """How many proposals to start now: one for each idle worker and `prefetch` more, never past `n_trials`."""
        if self._no_room:
            return 0
        ahead = self._ahead()
        wanted = self.plan.n_workers - self.running + self.plan.prefetch - ahead
        remaining = self._remaining()
        if remaining is not None:
            wanted = min(wanted, remaining - ahead)
        if self._outage is None:
            return wanted
        return 0 if self._outage.paused or self.proposing else min(1, wanted)

    def _ahead(self) -> int:
        """How many proposals are ready or being computed."""
        return self.proposing + len(self.ready)

    def _remaining(self) -> int | None:
        return None if self.plan.n_trials is None else self.plan.n_trials - self.launched

    def _under_way(self) -> int:
        return self._ahead() + self.running
