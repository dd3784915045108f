"""Runs plain functions in processes of their own, which a timeout kills, and a crash of which costs one trial."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from anyio import CancelScope

from ..engine.arguments import number
from ..engine.errors import UsageError
from ..engine.outcome import Outcome, failed
from ..engine.protocols import WorkerCapabilities
from ..engine.records import Call
from ..engine.threads import JobThread
from .pool import Pool
from .worker_process import ProcessDiedError, WorkerProcess

# Threads that numerical libraries start in each process, unless the user says how many.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

# Variables that hold keys of models: an objective does not need them, and `environments` can give what it does need.
_MODEL_KEY: Final = re.compile(r"(?i)_API_KEY$|_API_TOKEN$|^OPENAI_|^ANTHROPIC_|^AZURE_API_|^GEMINI_|^OPENROUTER_")


class ProcessWorkers:
    """Runs plain objectives in `n` processes, by default one for each CPU that this process may use.

    Objectives may be closures, lambdas, or functions of a script or notebook: they are pickled by value (cloudpickle).
    Their trial has Optuna's interface; its calls are answered by the process of the run, so pruners see one study on
    any storage. `trial_timeout` kills the process, and a crash fails its trial and no other: the slot gets a new
    process. What they print goes to this process' standard error.

    `environments` has a mapping of environment variables for each slot, such as a GPU each. Processes have this
    process' environment without the keys of models, and numerical libraries share the CPUs among them.

    Processes start when they are first needed, and serve one run after the other; `close()`, or the end of this
    process, ends them. Each trial begins in this process' working directory, and a run sees what is around its
    objective as it was at its first trial. Raises `UsageError` for arguments that cannot be meant.
    """

    capabilities: Final = WorkerCapabilities(ends_at_once=True, awaits=False, says_start=True)

    def __init__(self, n: int | None = None, *, environments: Sequence[Mapping[str, str]] | None = None) -> None:
        if environments is not None and n is not None and len(environments) != n:
            raise UsageError(f"environments must have one mapping for each of the n={n} slots, not {len(environments)}")
        if environments is not None and not environments:
            raise UsageError("environments must have one mapping for each slot, and has none")
        count = n if environments is None else len(environments)
        self.slots: int = number("n", available_cpus() if count is None else count, low=1, whole=True)
        self._environments = [dict(one) for one in environments or [{}] * self.slots]
        self._pool = Pool(self.slots)

    def __repr__(self) -> str:
        return f"ProcessWorkers(slots={self.slots}, idle={self._pool.idle})"

    async def run(self, call: Call) -> Outcome:
        """Run the objective in the process of a free slot; cancellation kills that process."""
        call.patience.lend_to(call.trial)
        if self._pool.pid != os.getpid():  # a fork: processes and threads are its parent's
            self._pool = Pool(self.slots)
        pool = self._pool
        slot = await pool.slots.take()
        thread, period = pool.thread(), pool.period
        try:
            outcome = await self._run(call, pool, slot, thread, period)
        except BaseException:
            thread.submit(pool.give_back, slot, thread, period)  # once the process is gone: its card has memory again
            raise
        pool.give_back(slot, thread, period)
        return outcome

    async def _run(self, call: Call, pool: Pool, slot: int, thread: JobThread, period: int) -> Outcome:
        """What can wait is done on the thread: of a process that has the objective already, its run alone."""
        try:
            known = pool.pickles.known(call)
            objective = await thread.run(pool.pickles.of, call) if known is None else known
        except UsageError as error:
            return failed(error)
        idle = pool.process(slot)
        with CancelScope(shield=True):  # else a process could start and nobody know of it
            process = idle if idle is not None and idle.alive else await thread.run(self._started, slot, idle)
        try:
            outcome: Outcome | None = None
            if not process.has_loaded(objective):
                outcome = await thread.run(process.prepare, objective)
            if outcome is None:
                call.started()
                outcome = await thread.run(process.run, call.trial)
        except ProcessDiedError as error:
            return replace(failed(error), error=None)  # as a timeout, it costs its trial, and not the run
        except BaseException:
            process.kill()
            thread.submit(process.end)
            raise
        if not pool.keep(slot, process, period):
            await thread.run(process.end)
        return outcome

    def close(self) -> None:
        """End the processes, those of running trials after these; the next run starts new ones."""
        self._pool.close()

    def _started(self, slot: int, dead: WorkerProcess | None) -> WorkerProcess:
        if dead is not None:
            dead.end()  # what it started may have outlived it
        return WorkerProcess(environment(self._environments[slot], os.environ, self.slots))


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(own: Mapping[str, str], inherited: Mapping[str, str], slots: int) -> dict[str, str]:
    """The environment of a slot: what is inherited without keys of models, a share of the CPUs, and its own."""
    threads = str(max(1, available_cpus() // slots))
    kept = {name: value for name, value in inherited.items() if not _MODEL_KEY.search(name)}
    return {**dict.fromkeys(THREAD_VARIABLES, threads), **kept, **own}
