"""`ask_async`: a batch of trials for people who drive ask and tell themselves."""

import uuid
from collections.abc import Mapping

import anyio
from anyio import CancelScope
from optuna import Study, Trial
from optuna.distributions import BaseDistribution

from ..arguments import at_least, require_single_objective
from ..errors import UsageError, unwrapped
from ..outcome import failed
from ..study.journal_repair import tidy_journal
from ..study.lanes import Lanes
from ..study.optuna_internals import storage_of
from .candidates import Asker, Candidate
from .source import resolve_source, resolve_space


async def ask_async(
    study: Study, n: int = 1, *, search_space: Mapping[str, BaseDistribution] | None = None
) -> list[Trial]:
    """Ask for `n` RUNNING trials at once; tell each with `study.tell`.

    The `n` proposals are computed concurrently, each in sight of what is in flight. Enqueued trials are handed out
    first. `search_space` is Optuna's `fixed_distributions`: all parameters are set at once. Works with any sampler.
    Either all `n` are created, or none that was not enqueued. Raises `UsageError`, `ProposalError`, client errors.
    """
    require_single_objective(study)
    at_least("n", n, 1)
    source = resolve_source(study)
    space = resolve_space(search_space, source.proposer)
    with Lanes(source.door) as lanes:
        await lanes.store("opening the study", tidy_journal, storage_of(study))
        known = source.proposer is None or space or source.proposer.search_space or (await lanes.refresh()).space
        if not known:
            raise UsageError("no parameter is known yet: pass search_space= to ask_async or to the sampler")
        asker = Asker(
            door=source.door,
            proposer=source.proposer,
            lanes=lanes,
            search_space=space,
            run=uuid.uuid4().hex[:12],
            fixed=source.fixed,
        )
        return await _ask_batch(asker, n)


async def _ask_batch(asker: Asker, n: int) -> list[Trial]:
    """Find all candidates before the first becomes a trial, so that a failure leaves nothing behind."""
    found: list[Candidate] = []
    trials: list[Trial] = []

    async def find() -> None:
        found.append(await asker.candidate())

    try:
        while len(trials) < n:  # again for enqueued trials that somebody else took first
            with unwrapped():
                async with anyio.create_task_group() as group:
                    for _ in range(n - len(trials)):
                        group.start_soon(find)
            with CancelScope(shield=True):
                while found:
                    trial = await asker.create(found.pop(0))
                    trials += [] if trial is None else [trial]
    except BaseException as error:
        for candidate in found:
            asker.discard(candidate)
        with CancelScope(shield=True):
            for trial in trials:
                await asker.lanes.storage.run(asker.door.tell, trial, failed(error))
            await asker.lanes.storage.run(asker.door.save_spending)
        raise
    return sorted(trials, key=lambda trial: trial.number)
