"""`optimize_async`, the entry point of a run: check what was asked, open the study, run."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..arguments import exceptions, function, is_coroutine_function, plain_functions, require_single_objective
from ..errors import UsageError
from ..protocols import Proposer, Workers, capabilities_of
from ..records import Objective
from ..study.lanes import stoppable
from ..study.optuna_internals import behind_fixed, clear_stop
from ..study.patience import RetryPolicy
from .blocking import blocking
from .called import checked
from .candidates import CandidateSource
from .context import RunContext, RunOptions, open_context
from .loop import Run
from .report import RunReport
from .schedule import RunPlan
from .signals import wanted_signals


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
        self.optimize = blocking(self.optimize_async)

    @checked
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
        grace: float = 30.0,  # Kubernetes and Slurm, too, wait 30 s between SIGTERM and SIGKILL
        handle_signals: bool | None = None,
        show_progress_bar: bool = False,
    ) -> RunReport:
        """Run a study with several workers at once; returns when the run ended and every trial of it is told.

        Works with any Optuna sampler. Enqueued trials come first. An exception of the objective fails its trial, and
        ends the run unless it is one of `catch`.

        Args:
            study: an Optuna study with one objective.
            objective: `async def f(trial: AsyncTrial)`, awaited on the caller's loop, or `def f(trial: optuna.Trial)`,
                called in threads, unless `workers` says otherwise.
            n_trials: how many trials this call runs, whatever becomes of them; None for no end.
            timeout: seconds after which the run asks no more, and lets running trials finish.
            n_workers: how many trials run at once; None for as many as `workers` has slots, else 1.
            search_space: sets all parameters at the ask, as `fixed_distributions` of `Study.ask` does.
            workers: where objectives run.
            prefetch: how many more proposals are computed while all workers are busy.
            trial_timeout: seconds after which a trial fails; that never ends the run.
            total_trials: how many COMPLETE and PRUNED trials the study is to have, over all processes and restarts. It
                is never passed: a run that finds it reached stops, and first waits for trials of other runs that may
                still fail.
            retries: how often a trial that fails without ending the run is enqueued anew; retries count as trials.
            catch: exception types of the objective that do not end the run.
            callbacks: called with the study and each finished trial, one at a time.
            max_failure_rate: the share of failed trials above which the run ends, from the fifth trial on. Without it,
                and without `n_trials`, a run for whose proposals a model is asked ends when its first trials (10, or
                two for each worker if that is more) all failed with the same type of error; 1 switches that off.
            max_failed_proposals: how many proposals in a row may fail before the run ends.
            patience: seconds for which asking may pause while the model cannot be reached.
            grace: seconds that running trials have to finish after the first signal.
            handle_signals: False leaves signals alone, None handles them where Python's own handlers stand, or those
                of an event loop's runner or of a notebook's kernel, True insists on the main thread. The first SIGINT
                or SIGTERM asks no more and lets running trials finish within `grace`, the second ends them; then
                `KeyboardInterrupt` or `SystemExit(143)` is raised.
            show_progress_bar: whether to show a progress bar on terminals and in notebooks.

        Raises `UsageError` before anything runs; the objective's exception, `ProposalError`, `WorkerError` and client
        errors after the trials that were running are finished and told.
        """
        require_single_objective(study)
        function("objective", objective)
        place_of = self._default_workers if workers is None else partial(_given, workers)
        with place_of(objective) as place:
            options = RunOptions(
                objective=objective,
                plan=RunPlan(
                    n_workers=(place.slots or 1) if n_workers is None else n_workers,
                    n_trials=n_trials,
                    prefetch=prefetch,
                    max_failed_proposals=max_failed_proposals,
                    max_failure_rate=max_failure_rate,
                    patience=patience,
                    pays=isinstance(behind_fixed(study.sampler)[0], Proposer),
                ),
                total_trials=total_trials,
                timeout=timeout,
                trial_timeout=trial_timeout,
                catch=exceptions("catch", catch),
                callbacks=plain_functions("callbacks", callbacks),
                retries=retries,
                grace=grace,
                signals=wanted_signals(handle_signals),
                show_progress_bar=show_progress_bar,
            )
            async with open_context(
                study, search_space, total=options.total_trials, retries=retries, leased=True, policy=self._policy
            ) as context:
                with stoppable(study):
                    if is_coroutine_function(objective) and context.search_space is None:
                        await _require_known_space(context)
                    clear_stop(study)
                    source = CandidateSource(context, stop_when_exhausted=True, patience=patience)
                    return await Run(options, source, place)()


def _given(workers: Workers, objective: Objective) -> AbstractContextManager[Workers]:
    """The user's own place, if it has `slots` and `run`, and can run the objective; the class is a common slip."""
    if isinstance(workers, type) or not isinstance(workers, Workers):
        raise UsageError(f"workers must be an object such as CoroutineWorkers() or ThreadWorkers(), not {workers!r}")
    if is_coroutine_function(objective) and not capabilities_of(workers).awaits:
        raise UsageError(f"{workers!r} cannot run an `async def` objective: leave out workers=, or write it as `def`")
    return nullcontext(workers)


async def _require_known_space(context: RunContext) -> None:
    """An async objective cannot wait for the sampler inside `suggest_*`: everything it suggests must be known."""
    if context.proposer is None:
        raise UsageError(
            f"an async objective needs search_space= with {type(context.door.study.sampler).__name__}: "
            "optimize_async(..., search_space={'lr': FloatDistribution(1e-5, 1e-1, log=True), ...})"
        )
    if not await context.knows_space():
        raise UsageError(
            "an async objective needs its search space declared: pass search_space= to optimize_async, or to the "
            "sampler if parameters are conditional; a plain function may discover its space"
        )
