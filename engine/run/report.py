"""What a run did: counted while its trials are told, shown in a progress bar, and returned as a report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TextIO

from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from ..records import Charge
from ..study.attributes import charge_of, counts_of, llm_of, untracked_charges
from ..study.snapshot import Snapshot

_COUNT_OF: Final = {TrialState.COMPLETE: "n_complete", TrialState.PRUNED: "n_pruned", TrialState.FAIL: "n_failed"}


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
    """What a `RunReport` is made of, counted; times are readings of one monotonic clock, in seconds.

    `counts` has the names of the report's fields; there `limiter_seconds` is all that asking took. `best` is the
    study's best value if a progress bar shows it.
    """

    def __init__(self, *, started: float, n_workers: int) -> None:
        self.best: float | None = None
        self.counts: dict[str, Any] = dict.fromkeys((field.name for field in fields(RunReport)), 0)
        self._started = started
        self._n_workers = n_workers
        self._first_launch, self._last_end = math.inf, -math.inf

    @property
    def finished(self) -> int:
        """How many trials of this run were told."""
        return sum(self.counts[name] for name in _COUNT_OF.values())

    def add(self, **amounts: float | None) -> None:
        """Add to the counts of these names; an unknown amount makes a count unknown for good."""
        for name, amount in amounts.items():
            known = self.counts[name]
            self.counts[name] = None if amount is None or known is None else known + amount

    def evaluated(self, began: float, ended: float) -> None:
        """A worker is free again after an objective."""
        self._first_launch = min(self._first_launch, began)
        self._last_end = max(self._last_end, ended)
        self.counts["objective_seconds"] += ended - began

    def told(self, trial: FrozenTrial, seconds: float) -> None:
        """A trial of this run is finished; telling it took so many seconds."""
        self.counts[_COUNT_OF[trial.state]] += 1
        self.counts["storage_seconds"] += seconds
        self.spent(llm_of(trial))

    def spent(self, provenance: Mapping[str, Any]) -> None:
        """Count what one proposal took."""
        if provenance:
            self.add(**counts_of(provenance))

    def report(self, *, now: float, stop_reason: str, left_over: int) -> RunReport:
        """The record of the whole run."""
        counts, seconds = self.counts, now - self._started
        busy = counts["objective_seconds"]
        available = self._n_workers * max(0.0, self._last_end - self._first_launch)
        computed = {
            "stop_reason": stop_reason,
            "left_over": left_over,
            "seconds": seconds,
            "throughput": self.finished / seconds if seconds > 0 else 0.0,
            # sums of floats may exceed their bound
            "utilization": min(1.0, busy / available) if available > 0 else None,
            # the model's latency is what its client says, measured on another thread: it may exceed what we waited
            "limiter_seconds": max(0.0, counts["limiter_seconds"] - counts["llm_seconds"]),
            # creating the first trials and telling the last lies outside the workers' time
            "idle_seconds": max(0.0, available - busy - counts["storage_seconds"]),
        }
        return RunReport(**{**counts, **computed})

    def show(self, bar: Any, *, now: float, running: int, proposing: int) -> None:
        """Draw a `progress_bar`; `proposing` asks are open."""
        counts, seconds = self.counts, now - self._started
        best = "-" if self.best is None else f"{self.best:.6g}"
        rate = counts["llm_calls"] / seconds * 60 if seconds > 0 else 0.0
        cost = f", ${counts['cost']:.4f}" if counts["cost"] else ""
        bar.n = self.finished
        bar.set_postfix_str(
            f"best {best}, {running} running, {proposing} waiting for the LLM, "
            f"{rate:.0f} calls/min, {counts['tokens']} tokens{cost}",
            refresh=False,
        )
        bar.refresh()


def progress_bar(total: int | None, file: TextIO | None = None) -> Any:
    """Open a line for a run of `total` trials; silent where standard error is no terminal and no notebook.

    tqdm is Optuna's habit and dependency, and right in terminals and notebooks alike.
    """
    return tqdm(total=total, unit="trial", disable=None, dynamic_ncols=True, file=file)


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
