"""`ask_async`: a batch of trials for people who drive ask and tell themselves."""

import uuid
from collections.abc import Mapping

import anyio
from anyio import CancelScope
from optuna import Study, Trial
from optuna.distributions import BaseDistribution

from .asking import Asker, Candidate, Enqueued
from .errors import UsageError, unwrapped
from .lanes import Lanes
from .options import at_least, check_search_space, require_single_objective, same_space
from .outcome import failed
from .protocols import Proposer
from .records import SearchSpace
from .study import StudyDoor


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
    proposer = study.sampler if isinstance(study.sampler, Proposer) else None
    space = resolve_space(search_space, proposer)
    door = proposer.door(study) if proposer is not None else StudyDoor(study)
    with Lanes(door) as lanes:
        asker = Asker(door=door, proposer=proposer, lanes=lanes, search_space=space, run=uuid.uuid4().hex[:12])
        return await _ask_batch(asker, n)


async def _ask_batch(asker: Asker, n: int) -> list[Trial]:
    """Find all candidates before the first becomes a trial, so that a failure leaves nothing behind."""
    found: list[Candidate] = []

    async def find() -> None:
        found.append(await asker.candidate())

    try:
        with unwrapped():
            async with anyio.create_task_group() as group:
                for _ in range(n):
                    group.start_soon(find)
    except BaseException:
        for candidate in found:
            asker.discard(candidate)
        raise
    with CancelScope(shield=True):
        trials = [await _create(asker, candidate) for candidate in found]
    return sorted(trials, key=lambda trial: trial.number)


async def _create(asker: Asker, candidate: Candidate) -> Trial:
    trial = await asker.create(candidate)
    while trial is None:  # somebody else had claimed the enqueued trial
        candidate = await asker.candidate()
        trial = await asker.create(candidate)
    if isinstance(candidate, Enqueued):
        try:
            await asker.fill_in(trial)
        except BaseException as error:
            await asker.lanes.storage.run(asker.door.tell, trial, failed(error))
            raise
    return trial


def resolve_space(search_space: Mapping[str, BaseDistribution] | None, proposer: Proposer | None) -> SearchSpace | None:
    """The space to fix at the ask, checked against the one that the sampler declares."""
    if search_space is None:
        return None
    space = check_search_space(search_space)
    if proposer is not None and not same_space(space, proposer.search_space):
        raise UsageError(
            "search_space= differs from the sampler's own search_space: give one of the two, or the same space twice"
        )
    return space
