"""`ask_async`: a batch of trials for people who drive ask and tell themselves."""

from collections.abc import Mapping

import anyio
import anyio.lowlevel
from optuna import Study, Trial
from optuna.distributions import BaseDistribution

from ..arguments import number, require_single_objective
from ..errors import UsageError
from ..outcome import failed
from ..threads import unwrapped
from .candidates import Candidate, CandidateSource
from .context import open_context


async def ask_async(
    study: Study, n: int = 1, *, search_space: Mapping[str, BaseDistribution] | None = None
) -> list[Trial]:
    """Ask for `n` RUNNING trials at once; tell each with `study.tell`.

    The `n` proposals are computed concurrently, each in sight of what is in flight. Enqueued trials are handed out
    first. `search_space` is Optuna's `fixed_distributions`: all parameters are set at once. Works with any sampler.
    Either all `n` are created, or none that was not enqueued. Raises `UsageError`, `ProposalError`, client errors.
    """
    require_single_objective(study)
    number("n", n, low=1, whole=True)
    async with open_context(study, search_space) as context:
        if context.proposer is not None and not await context.knows_space():
            raise UsageError("no parameter is known yet: pass search_space= to ask_async or to the sampler")
        return await _ask_batch(CandidateSource(context), n)


async def _ask_batch(source: CandidateSource, n: int) -> list[Trial]:
    """Find all candidates before the first becomes a trial, so that a failure leaves nothing behind."""
    candidates: list[Candidate] = []
    trials: list[Trial] = []

    async def find() -> None:
        candidates.append(await source.candidate())

    try:
        while len(trials) < n:  # again for enqueued trials that somebody else took first
            with unwrapped():
                async with anyio.create_task_group() as group:
                    for _ in range(n - len(trials)):
                        group.start_soon(find)
            while candidates:
                trial = await candidates.pop(0).create()
                trials += [] if trial is None else [trial]
            await anyio.lowlevel.checkpoint()  # a cancellation that was put off comes here, not after the return
    except BaseException as error:
        source.discard_open()
        context = source.context
        for trial in trials:
            await context.lanes.store("failing the other trials", context.door.tell, trial, failed(error), shield=True)
        await context.lanes.store("storing what was spent", context.door.save_spending, shield=True)
        raise
    return sorted(trials, key=lambda trial: trial.number)
