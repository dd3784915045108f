"""How a study is sampled: by which proposer, in which space. Resolved once, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from optuna import Study
from optuna.distributions import BaseDistribution

from ..errors import UsageError
from ..protocols import Proposer
from ..records import EMPTY, Params, SearchSpace
from ..study.distributions import check_search_space
from ..study.door import StudyDoor
from ..study.journal_repair import guard_journal
from ..study.optuna_internals import behind_fixed, storage_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The door to the study, and who samples it.

    `proposer` is the study's sampler, None if that is one of Optuna's own kind; `fixed` are the values that a
    `PartialFixedSampler` around it fixes. `search_space` is set at the ask, None if it follows from the trials.
    """

    door: StudyDoor
    proposer: Proposer | None
    fixed: Params
    search_space: SearchSpace | None


def resolve_sampling(study: Study, search_space: Mapping[str, BaseDistribution] | None) -> Sampling:
    """Find the proposer of a study; one inside Optuna's `PartialFixedSampler` is asked directly, not trial by trial.

    Raises `UsageError` if `search_space` cannot be used, or differs from what the proposer declares.
    """
    guard_journal(storage_of(study))
    sampler, fixed = behind_fixed(study.sampler)
    proposer = sampler if isinstance(sampler, Proposer) else None
    return Sampling(
        door=StudyDoor(study) if proposer is None else proposer.door(study),
        proposer=proposer,
        fixed=EMPTY if proposer is None else fixed,
        search_space=_checked_space(search_space, None if proposer is None else proposer.search_space),
    )


def _checked_space(
    search_space: Mapping[str, BaseDistribution] | None, declared: SearchSpace | None
) -> SearchSpace | None:
    if search_space is None:
        return None
    space = check_search_space(search_space)
    if declared is not None and dict(declared) != dict(space):
        raise UsageError(
            "search_space= differs from the sampler's own search_space: give one of the two, or the same space twice"
        )
    return space
