"""What is not public in Optuna 5, behind functions with names; tests pin what it does.

Other folders call these, or `StudyDoor`, and a test forbids them the attributes themselves: a new version of Optuna is
met in this folder alone.
"""

import sys
from collections.abc import Mapping
from typing import Any

from optuna import Study, Trial
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..records import EMPTY, Params, SearchSpace

# -- studies


def storage_of(study: Study) -> BaseStorage:
    """The storage that holds a study."""
    return study._storage


def study_key(study: Study) -> tuple[int, int]:
    """What tells a study, or a view of it, from others in this process, for as long as its storage object lives."""
    study = unfiltered(study)
    return id(study._storage), study._study_id


def unfiltered(study: Study) -> Study:
    """The study behind the filtered view that some pruners hand to samplers."""
    behind: Study = getattr(study, "_study", study)
    return behind


def forget_cached_trials(study: Study) -> None:
    """Have the next reading on this thread see the trials that were written since."""
    study._thread_local.cached_all_trials = None


def fail_trial(study: Study, trial: Trial | FrozenTrial) -> None:
    """Fail a RUNNING trial without asking the sampler."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


# -- Study.stop, whose flag Optuna guards per thread


def stop_requested(study: Study) -> bool:
    """Whether `study.stop()` was called since the run began."""
    return bool(study._stop_flag)


def clear_stop(study: Study) -> None:
    """Forget earlier stops, as `Study.optimize` does when it begins."""
    study._stop_flag = False


def may_stop(study: Study) -> bool:
    """Whether `study.stop()` is allowed on this thread."""
    return bool(study._thread_local.in_optimize_loop)


def objective_of_optimize() -> Any:
    """The objective of the `study.optimize` that runs on this thread, if one does; Optuna does not tell samplers."""
    frame = sys._getframe()
    for _ in range(8):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code.co_name == "_run_trial" and frame.f_globals.get("__name__") == "optuna.study._optimize":
            return frame.f_locals.get("func")
    return None


# -- trials


def id_of(trial: Trial | FrozenTrial) -> int:
    """The trial's id in its storage, which is not its number."""
    return trial._trial_id


def preset_values(trial: Trial, params: Params, distributions: SearchSpace) -> None:
    """Let a trial suggest these values without asking the sampler."""
    trial.relative_search_space = dict(distributions)
    trial._relative_params = dict(params)


def has_preset(trial: Trial, name: str) -> bool:
    """Whether the value of a parameter is known before the trial suggests it; asks the sampler if nobody has yet."""
    return name in trial._fixed_params or name in trial.relative_params


def suggest_all(trial: Trial, search_space: SearchSpace) -> None:
    """Suggest every name of `search_space` at once, as `study.ask(fixed_distributions=...)` does."""
    for name, distribution in search_space.items():
        trial._suggest(name, distribution)


# -- samplers


def behind_fixed(sampler: BaseSampler) -> tuple[BaseSampler, Mapping[str, Any]]:
    """The sampler inside Optuna's `PartialFixedSampler`, and what that fixes; any other sampler fixes nothing."""
    if isinstance(sampler, PartialFixedSampler):
        return sampler._base_sampler, dict(sampler._fixed_params)
    return sampler, EMPTY
