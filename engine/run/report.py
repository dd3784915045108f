"""What a run did: counted while its trials are told, shown in a progress bar, and returned as a report."""

import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from html import escape
from typing import Any, Final, TextIO

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..logs import counted
from ..records import Charge
from ..study.attributes import charge_of, counts_of, is_of_unknown_cost, llm_of, untracked_charges, violations_of
from ..study.snapshot import Snapshot

_COUNT_OF: Final = {TrialState.COMPLETE: "n_complete", TrialState.PRUNED: "n_pruned", TrialState.FAIL: "n_failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one call of `optimize_async` did.

    `n_infeasible` of the `n_complete` trials violate a constraint (`Trial.set_constraint`): none of them is the best.
    `stop_reason`: "n_trials", "total_trials", "occupied" (RUNNING trials that nobody is known to run hold the rest of
    `total_trials`), "timeout", "stop" (`study.stop()`), "budget", "exhausted" (a finite search space),
    "max_failure_rate" or "all_failed" (its first trials, all in the same way). `seconds` is the wall time;
    `utilization` the share of worker seconds that evaluated something, from the first launch to the last end (None if
    nothing ran); `throughput` is in trials per second. `tokens` are prompt and completion tokens, `cached_tokens` those
    of the prompts that the provider had in its cache, `written_tokens` those that it billed as written into it; `cost`
    is in US dollars, None as soon as one answer's is unknown.
    `llm_calls`, `tokens` and `cost` are what the run put on record in the study, on trials and without one. A call that
    failed or was cancelled is one of `llm_calls`, and adds neither tokens nor dollars: no reply says what it took, and
    a provider may bill it all the same. An answer that does not say it counts in full where a budget has to.
    `left_over` proposals were ready or being computed when the run stopped, and were not evaluated.

    Where the time went, in seconds summed over workers and asks: `llm_seconds` the model's own latency,
    `limiter_seconds` what asking took beyond it (limits, retries, queueing), `storage_seconds` creating and telling
    trials, `objective_seconds` evaluating, `idle_seconds` what is left of the workers' time.
    """

    n_complete: int
    n_pruned: int
    n_failed: int
    n_infeasible: int
    stop_reason: str
    seconds: float
    utilization: float | None
    throughput: float
    llm_calls: int
    tokens: int
    cached_tokens: int
    written_tokens: int
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
        title, rows = self._told()
        return "\n".join([title, *(f"  {name:<10} {text}" for name, text in rows.items())])

    def _told(self) -> tuple[str, dict[str, str]]:
        """What it says in words: a title, and a line for each of what people look for."""
        busy = "nothing ran" if self.utilization is None else f"{self.utilization:.0%} busy"
        cost = "unknown cost" if self.cost is None else f"${self.cost:.4f}"
        infeasible = f" ({self.n_infeasible} infeasible)" if self.n_infeasible else ""
        trials = f"{self.n_complete} complete{infeasible}, {self.n_pruned} pruned, {self.n_failed} failed"
        written = f", {self.written_tokens} written to the cache" if self.written_tokens else ""
        return f"{trials} in {self.seconds:.1f} s, ended by {self.stop_reason}", {
            "workers": f"{busy}, {self.throughput:.2f} trials/s",
            "model": f"{counted(self.llm_calls, 'call')}, {counted(self.tokens, 'token')} "
            f"({self.cached_tokens} cached{written}), {cost}",
            "proposals": f"{counted(self.reasks, 're-ask')}, {counted(self.repairs, 'repair')}, "
            f"{counted(self.duplicates, 'duplicate')}, {self.left_over} left over",
            "seconds": f"model {self.llm_seconds:.1f}, waiting to ask {self.limiter_seconds:.1f}, storage "
            f"{self.storage_seconds:.1f}, objectives {self.objective_seconds:.1f}, idle {self.idle_seconds:.1f}",
        }

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show of it."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        title, rows = self._told()
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table><caption>{escape(title)}</caption>{cells}</table>"


class Tally:
    """What a `RunReport` is made of, counted; times are readings of one monotonic clock, in seconds.

    `counts` has the names of the report's fields; there `limiter_seconds` is all that asking took. `best` is the
    study's best trial if a progress bar shows it.
    """

    def __init__(self, *, started: float, n_workers: int) -> None:
        self.best: FrozenTrial | None = None
        self.counts: dict[str, Any] = dict.fromkeys((field.name for field in fields(RunReport)), 0)
        self._started = started
        self._n_workers = n_workers
        self._first_launch, self._last_end = math.inf, -math.inf
        self._on_trials = Charge()

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
        self.counts["n_infeasible"] += trial.state is TrialState.COMPLETE and bool(violations_of(trial))
        self.counts["storage_seconds"] += seconds
        self._on_trials += charge_of(llm_of(trial))
        self.spent(llm_of(trial))

    def spent(self, provenance: Mapping[str, Any]) -> None:
        """Count what one proposal took."""
        if provenance:
            self.add(**counts_of(provenance))

    def report(self, *, now: float, stop_reason: str, left_over: int, untracked: Charge | None = None) -> RunReport:
        """The record of the whole run; `untracked` is what it spent that no trial has on record, None if as counted."""
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
        if untracked is not None:
            charge = self._on_trials + untracked
            cost = None if counts["cost"] is None else max(0.0, charge.usd)  # sums of floats may end below 0
            computed |= {"llm_calls": charge.requests, "tokens": charge.tokens, "cost": cost}
        return RunReport(**{**counts, **computed})

    def show(self, bar: Any, *, now: float, running: int, proposing: int) -> None:
        """Draw a `progress_bar`; `proposing` asks are open."""
        counts, seconds = self.counts, now - self._started
        best = "-" if self.best is None else f"{self.best.value:.6g}"
        rate = counts["llm_calls"] / seconds * 60 if seconds > 0 else 0.0
        cost = f", ${counts['cost']:.4f}" if counts["cost"] else ""
        bar.n = self.finished
        bar.set_postfix_str(
            f"best {best}, {running} running, {proposing} waiting for the LLM, "
            f"{rate:.0f} calls/min, {counted(counts['tokens'], 'token')}{cost}",
            refresh=False,
        )
        bar.refresh()


@contextmanager
def progress_bar(total: int | None, file: TextIO | None = None) -> Iterator[Any]:
    """Open a line for a run of `total` trials; silent where standard error is no terminal and no notebook.

    tqdm is Optuna's habit and dependency, and right in terminals and notebooks alike. What Optuna's handler writes
    meanwhile goes above the line.
    """
    optunas = optuna.logging.get_logger("optuna")
    with tqdm(total=total, unit="trial", disable=None, dynamic_ncols=True, file=file) as bar:
        above = not bar.disable and any(map(_writes_on_terminal, optunas.handlers))
        with logging_redirect_tqdm([optunas], tqdm) if above else nullcontext():
            yield bar


def _writes_on_terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)


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
    if not spent.requests:
        return f"{words}{wanted}"
    known = not any(is_of_unknown_cost(llm_of(trial)) for trial in snapshot.finished)
    dollars = f"${spent.usd:.4f}" if known else f"at least ${spent.usd:.4f}" if spent.usd else "at unknown cost"
    took = f"{counted(spent.requests, 'request')}, {counted(spent.tokens, 'token')}, {dollars}"
    return f"{words}{wanted}; asking for them took {took}"
