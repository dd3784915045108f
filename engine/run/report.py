"""The report of a run, counted while its trials are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ..records import Charge
from ..study.attributes import as_amount, as_count, as_list, as_mapping, charge_of, llm_of, untracked_charges
from ..study.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one call of `optimize_async` did.

    `stop_reason`: "n_trials", "total_trials", "timeout", "stop" (`study.stop()`), "budget", "exhausted" (a finite
    search space) or "max_failure_rate". `seconds` is the wall time; `utilization` the share of worker seconds that
    evaluated something, from the first launch to the last end (None if nothing ran); `throughput` is in trials per
    second. `tokens` are prompt and completion tokens, `cached_tokens` those of the prompts that the provider had in its
    cache; `cost` is in US dollars, None as soon as one call's is unknown.
    `left_over` proposals were ready or being computed when the run stopped, and were not evaluated.

    Where the time went, in seconds summed over workers and asks: `llm_seconds` the model's own latency,
    `limiter_seconds` what asking took beyond it (limits, retries, queueing), `storage_seconds` creating and telling
    trials, `objective_seconds` evaluating, `idle_seconds` what is left of the workers' time.
    """

    n_complete: int
    n_pruned: int
    n_failed: int
    stop_reason: str
    seconds: float
    utilization: float | None
    throughput: float
    llm_calls: int
    tokens: int
    cached_tokens: int
    cost: float | None
    reasks: int
    repairs: int
    duplicates: int
    left_over: int
    llm_seconds: float
    limiter_seconds: float
    storage_seconds: float
    objective_seconds: float
    idle_seconds: float

    def __str__(self) -> str:
        busy = "-" if self.utilization is None else f"{self.utilization:.0%}"
        cost = "unknown" if self.cost is None else f"${self.cost:.4f}"
        return (
            f"{self.n_complete} complete, {self.n_pruned} pruned, {self.n_failed} failed in {self.seconds:.1f} s "
            f"(ended by {self.stop_reason}; workers {busy} busy, {self.throughput:.2f} trials/s); "
            f"{self.llm_calls} LLM calls, {self.tokens} tokens ({self.cached_tokens} cached), cost {cost}; "
            f"{self.reasks} re-asks, {self.repairs} repairs, {self.duplicates} duplicates, "
            f"{self.left_over} proposals left over"
        )


class Tally:
    """The counters behind a `RunReport`; times are readings of one monotonic clock, in seconds.

    `cost` is in US dollars, None as soon as one call's is unknown.
    """

    def __init__(self, *, started: float, n_workers: int) -> None:
        self.began = started
        self._n_workers = n_workers
        self._states = dict.fromkeys((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), 0)
        self._first_launch: float | None = None
        self._last_end = started
        self._busy = self._stored = self._asked = self._llm = 0.0
        self._cached = self._reasks = self._repairs = self._duplicates = 0
        self.calls = self.tokens = 0
        self.cost: float | None = 0.0

    @property
    def finished(self) -> int:
        """How many trials of this run were told."""
        return sum(self._states.values())

    def launched(self, now: float) -> None:
        """A worker begins an objective."""
        if self._first_launch is None:
            self._first_launch = now

    def ended(self, now: float, seconds: float) -> None:
        """A worker is free again after `seconds` of an objective."""
        self._busy += seconds
        self._last_end = now

    def stored(self, seconds: float) -> None:
        """A worker waited for the storage."""
        self._stored += seconds

    def asked(self, seconds: float) -> None:
        """A proposal was computed, or failed."""
        self._asked += seconds

    def told(self, trial: FrozenTrial) -> None:
        """A trial of this run is finished."""
        self._states[trial.state] += 1
        self.spent(llm_of(trial))

    def spent(self, provenance: Mapping[str, Any]) -> None:
        """Count what one proposal took."""
        if not provenance:
            return
        usage = as_mapping(provenance.get("usage"))
        charge = charge_of(provenance)
        self._llm += as_amount(provenance.get("latency")) or 0.0
        self.calls += charge.requests
        self.tokens += charge.tokens
        self._cached += as_count(usage.get("cached_tokens"))
        self._reasks += as_count(provenance.get("reasks"))
        self._repairs += len(as_list(provenance.get("repairs")))
        self._duplicates += provenance.get("duplicate_of") is not None
        cost = as_amount(usage.get("cost"))
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def report(self, *, now: float, stop_reason: str, left_over: int) -> RunReport:
        """The record of the whole run."""
        seconds = now - self.began
        return RunReport(
            n_complete=self._states[TrialState.COMPLETE],
            n_pruned=self._states[TrialState.PRUNED],
            n_failed=self._states[TrialState.FAIL],
            stop_reason=stop_reason,
            seconds=seconds,
            utilization=self._utilization(),
            throughput=self.finished / seconds if seconds > 0 else 0.0,
            llm_calls=self.calls,
            tokens=self.tokens,
            cached_tokens=self._cached,
            cost=self.cost,
            reasks=self._reasks,
            repairs=self._repairs,
            duplicates=self._duplicates,
            left_over=left_over,
            llm_seconds=self._llm,
            # the model's latency is what its client says, measured on another thread: it may exceed what we waited
            limiter_seconds=max(0.0, self._asked - self._llm),
            storage_seconds=self._stored,
            objective_seconds=self._busy,
            # creating the first trials and telling the last lies outside the workers' time
            idle_seconds=max(0.0, self._worker_seconds() - self._busy - self._stored),
        )

    def _worker_seconds(self) -> float:
        first = self._last_end if self._first_launch is None else self._first_launch
        return self._n_workers * (self._last_end - first)

    def _utilization(self) -> float | None:
        available = self._worker_seconds()
        return min(1.0, self._busy / available) if available > 0 else None  # sums of floats may exceed their bound


def describe_study(snapshot: Snapshot, total: int | None) -> str:
    """Say in one line where a study stands that a run goes on with."""
    states = [trial.state for trial in snapshot.finished]
    counts = {
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
        "running elsewhere": len(snapshot.running),
        "enqueued": len(snapshot.waiting),
    }
    words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    spent = sum((charge_of(llm_of(trial)) for trial in snapshot.finished), Charge())
    spent = sum(untracked_charges(snapshot.attributes).values(), spent)
    wanted = "" if total is None else f" of {total} wanted"
    return f"{words}{wanted}; asking for them took {spent}" if spent.requests else f"{words}{wanted}"
