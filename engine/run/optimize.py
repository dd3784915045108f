"""The entry point of a run: checks what was asked, picks workers that suit the objective, hands both to the engine."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..arguments import (
    at_least,
    duration,
    exceptions,
    function,
    is_coroutine_function,
    plain_functions,
    require_single_objective,
    seconds,
    share,
    signals_wanted,
    workers_of,
)
from ..errors import UsageError
from ..fleet.lease_keeper import LeaseKeeper
from ..protocols import Workers
from ..records import Objective
from ..study.journal_repair import tidy_journal
from ..study.lanes import Lanes
from ..study.optuna_internals import clear_stop, stoppable, storage_of
from ..study.retrying import RetryPolicy
from .candidates import Asker
from .loop import Options, Run
from .report import RunReport
from .schedule import Plan
from .source import Source, resolve_source, resolve_space


class Optimizer:
    """Runs studies. `default_workers` gives the place where an objective runs if the call names none.

    `policy` says for how long a storage that fails is tried.
    """

    def __init__(
        self,
        default_workers: Callable[[Objective], AbstractContextManager[Workers]],
        policy: RetryPolicy | None = None,
    ) -> None:
        self._default_workers = default_workers
        self._policy = policy

    async def optimize_async(
        self,
        study: Study,
        objective: Objective,
        *,
        n_trials: int | None = None,
        timeout: float | None = None,
        n_workers: int | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        workers: Workers | None = None,
        prefetch: int = 0,
        trial_timeout: float | None = None,
        total_trials: int | None = None,
        retries: int = 0,
        catch: Iterable[type[BaseException]] | type[BaseException] = (),
        callbacks: Iterable[Callable[[Study, FrozenTrial], Any]] | None = (),
        max_failure_rate: float | None = None,
        max_failed_proposals: int = 3,
        patience: float = 600.0,
        grace: float = 30.0,
        handle_signals: bool | None = None,
        show_progress_bar: bool = False,
    ) -> RunReport:
        """Run a study with several workers at once; returns when the run ended and every trial of it is told.

        `objective` is `async def f(trial: AsyncTrial)`, awaited on the caller's loop, or `def f(trial: optuna.Trial)`,
        called in threads, unless `workers` says otherwise. `n_trials` counts the trials of this call, whatever becomes
        of them; `total_trials` the COMPLETE and PRUNED ones of the study, over all processes and restarts, and is never
        passed: whoever finds it reached stops, and waits before for trials of others that may still fail. Enqueued
        trials come first. `n_workers` None: as many as `workers` has slots, else 1. `timeout` (seconds) stops asking
        and lets running trials finish; `trial_timeout` (seconds) fails the trial and never the run. `search_space` sets
        all parameters at the ask, as `fixed_distributions` of `Study.ask` does. `prefetch` more proposals are computed
        while all workers are busy. An exception of the objective fails its trial, and ends the run unless it is one of
        `catch`. A trial that fails without ending the run is enqueued anew up to `retries` times; the retries count as
        trials. `callbacks` get the study and the finished trial, one at a time. The run ends when more than
        `max_failure_rate` of its trials (a share, looked at from the fifth trial on) have failed, or after
        `max_failed_proposals` in a row. While the model cannot be reached, asking pauses, for up to `patience` seconds.
        SIGINT and SIGTERM are handled where Python's own handlers stand, unless `handle_signals` is False: the first
        asks no more and lets running trials finish within `grace` seconds, the second ends them; then
        `KeyboardInterrupt` or `SystemExit(143)` is raised. Works with any Optuna sampler.

        Raises `UsageError` before anything runs; the objective's exception, `ProposalError` and client errors after the
        trials that were running are finished and told.
        """
        require_single_objective(study)
        is_async = is_coroutine_function(function("objective", objective))
        with self._default_workers(objective) if workers is None else nullcontext(workers_of(workers)) as place:
            options = Options(
                objective=objective,
                plan=Plan(
                    n_workers=at_least("n_workers", (place.slots or 1) if n_workers is None else n_workers, 1),
                    n_trials=None if n_trials is None else at_least("n_trials", n_trials, 0),
                    prefetch=at_least("prefetch", prefetch, 0),
                    max_failed_proposals=at_least("max_failed_proposals", max_failed_proposals, 1),
                    max_failure_rate=share("max_failure_rate", max_failure_rate),
                    patience=duration("patience", patience),
                ),
                timeout=seconds("timeout", timeout),
                trial_timeout=seconds("trial_timeout", trial_timeout),
                catch=exceptions(catch),
                callbacks=plain_functions("callbacks", callbacks),
                retries=at_least("retries", retries, 0),
                grace=duration("grace", grace),
                handle_signals=signals_wanted(handle_signals),
                show_progress_bar=show_progress_bar,
            )
            source = resolve_source(study)
            space = resolve_space(search_space, source.proposer)
            total = None if total_trials is None else at_least("total_trials", total_trials, 0)
            run = uuid.uuid4().hex[:12]
            keeper = _keeper(source, run, options.retries)
            read = source.door.refresh if keeper is None else keeper.refresh
            with Lanes(source.door, read=read, policy=self._policy) as lanes, stoppable(study):
                asker = Asker(
                    door=source.door,
                    proposer=source.proposer,
                    lanes=lanes,
                    search_space=space,
                    run=run,
                    fixed=source.fixed,
                    to_the_end=True,
                    total=total,
                    keeper=keeper,
                )
                await lanes.store("opening the study", tidy_journal, storage_of(study))
                if is_async and space is None:
                    await _require_known_space(asker)
                clear_stop(study)
                return await Run(options, asker=asker, workers=place)()


def _keeper(source: Source, run: str, retries: int) -> LeaseKeeper | None:
    """The keeper of a run's lease, where other processes could see it."""
    if not source.door.is_shareable:
        return None
    model = None if source.proposer is None else source.proposer.model
    return LeaseKeeper(source.door, run=run, model=model, retries=retries)


async def _require_known_space(asker: Asker) -> None:
    """An async objective cannot wait for the sampler inside `suggest_*`: everything it suggests must be known."""
    if asker.proposer is None:
        raise UsageError(
            f"an async objective needs search_space= with {type(asker.door.study.sampler).__name__}: "
            "optimize_async(..., search_space={'lr': FloatDistribution(1e-5, 1e-1, log=True), ...})"
        )
    if asker.proposer.search_space is None and not (await asker.lanes.refresh()).space:
        raise UsageError(
            "an async objective needs its search space declared: pass search_space= to optimize_async, or to the "
            "sampler if parameters are conditional; a plain function may discover its space"
        )
