"""Where configurations come from: the study's sampler, looked at once before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from optuna import Study
from optuna.distributions import BaseDistribution

from ..errors import UsageError
from ..protocols import Proposer
from ..records import Params, SearchSpace
from ..study.distributions import check_search_space
from ..study.door import StudyDoor
from ..study.journal_repair import guard_journal
from ..study.optuna_internals import behind_fixed, storage_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The door to the study, the proposer if the sampler is one, and what a sampler around it fixes."""

    door: StudyDoor
    proposer: Proposer | None
    fixed: Params


def resolve_source(study: Study) -> Source:
    """Find the proposer of a study; one inside Optuna's `PartialFixedSampler` is asked directly, not trial by trial."""
    guard_journal(storage_of(study))
    sampler, fixed = behind_fixed(study.sampler)
    if isinstance(sampler, Proposer):
        return Source(door=sampler.door(study), proposer=sampler, fixed=fixed)
    return Source(door=StudyDoor(study), proposer=None, fixed={})


def resolve_space(search_space: Mapping[str, BaseDistribution] | None, proposer: Proposer | None) -> SearchSpace | None:
    """The space to fix at the ask, checked against the one that the sampler declares."""
    if search_space is None:
        return None
    space = check_search_space(search_space)
    declared = None if proposer is None else proposer.search_space
    if declared is not None and dict(declared) != dict(space):
        raise UsageError(
            "search_space= differs from the sampler's own search_space: give one of the two, or the same space twice"
        )
    return space
