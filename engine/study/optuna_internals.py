"""What is not public in Optuna 5, behind functions with names; tests pin what it does.

Other folders call these, or `StudyDoor`, and a test forbids them the attributes themselves: a new version of Optuna is
met in this folder alone.
"""

import sys
from collections.abc import Collection, Mapping
from traceback import walk_tb
from types import FrameType
from typing import Any

from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import BaseStorage
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, TrialState

from ..names import AskedNames
from ..records import EMPTY, Params, SearchSpace

# -- studies


def storage_of(study: Study) -> BaseStorage:
    """The storage that holds a study."""
    return study._storage


def study_id_of(study: Study) -> int:
    """The study's id in its storage."""
    return study._study_id


def study_key(study: Study) -> tuple[str | int, int]:
    """What tells a study from others: the address of its database, else its storage object for as long as that lives.

    A service that loads a study for each request has several storage objects for it at a time.
    """
    storage = study._storage
    backend = getattr(storage, "_backend", storage)
    address = str(getattr(backend, "url", None) or getattr(backend, "_file_path", ""))
    is_own = address in ("", "sqlite://") or "memory" in address  # what is in memory is its storage's own
    return id(storage) if is_own else address, study._study_id


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


def tell(study: Study, trial: Trial, value: float | None, state: TrialState) -> None:
    """Do what `study.tell` does, less the deep copy that it returns; passes over a trial that is finished."""
    _tell_with_warning(study=study, trial=trial, value_or_values=value, state=state, skip_if_finished=True)


class _Template(FrozenTrial):
    """A trial to be stored that nobody else holds: a storage that wants a deep copy may have it itself.

    Half of what a trial costs in memory is else the copy of its distributions, which Optuna's own trials share.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        self.__class__ = FrozenTrial  # type: ignore[assignment]
        return self


def create_from(study: Study, template: FrozenTrial) -> int:
    """Store a trial in one write; returns its id. The template, and all that is in it, belongs to the storage then."""
    template.__class__ = _Template
    return study._storage.create_new_trial(study._study_id, template_trial=template)


# -- Study.stop, whose flag Optuna guards per thread


def stop_requested(study: Study) -> bool:
    """Whether `study.stop()` was called since the run began."""
    return bool(study._stop_flag)


def clear_stop(study: Study) -> None:
    """Forget earlier stops, as `Study.optimize` does when it begins."""
    study._stop_flag = False


def stop(study: Study) -> None:
    """Call `study.stop()` if that is allowed on this thread: elsewhere nobody would obey it."""
    study = unfiltered(study)
    if study._thread_local.in_optimize_loop:
        study.stop()


def objective_of_optimize() -> Any:
    """The objective of the `study.optimize` that runs on this thread, if one does; Optuna does not tell samplers."""
    frame = sys._getframe()
    for _ in range(8):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if _is_of_optuna(frame, "_run_trial"):
            return frame.f_locals.get("func")
    return None


class _RaisingClose:
    """Stands for the `close` of a run's progress bar, which is the last that Optuna calls before a run returns."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self.errors: list[BaseException] = []

    def __call__(self) -> None:
        type(self._bar).close(self._bar)
        optimize, passing = sys._getframe(1), sys.exception()
        if passing is not None and any(frame is optimize for frame, _ in walk_tb(passing.__traceback__)):
            return  # the run raises something already
        unseen = [future.exception() for future in optimize.f_locals.get("futures", ()) if future.done()]
        errors, self.errors = self.errors, []
        for error in errors:
            if any(error is other for other in unseen):
                raise error


def raise_at_end(study: Study, error: BaseException) -> None:
    """Have the `study.optimize` that runs on this thread raise `error` at its end, if that ended a trial.

    With `n_jobs` Optuna looks at the outcome of a trial when it starts another one: at none after `study.stop()`, and
    at none of the last `n_jobs`. What an objective or `catch` has caught is not raised.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _is_of_optuna(frame, "_optimize_sequential") and frame.f_locals.get("study") is study:
            bar = frame.f_locals.get("progress_bar")
            vars(bar).setdefault("close", _RaisingClose(bar)).errors.append(error)
            return
        frame = frame.f_back


def _is_of_optuna(frame: FrameType, function: str) -> bool:
    return frame.f_code.co_name == function and frame.f_globals.get("__name__") == "optuna.study._optimize"


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


def enqueued_values(trial: Trial) -> Params:
    """The values that the trial was enqueued with: it suggests them whatever range is asked for."""
    return dict(trial._fixed_params)


def written_values(trial: Trial) -> Params:
    """The values that are suggested already, without counting as somebody who asks for them."""
    return dict(trial._cached_frozen_trial.params)


def declared_names(trial: Trial) -> AskedNames | None:
    """The space that a trial is held to; None if it may suggest any name."""
    return trial.names if isinstance(trial, DeclaredTrial) else None


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


# -- trials of a declared space


class DeclaredTrial(Trial):
    """An `optuna.Trial` that refuses names outside its space before any sampler is asked: that would be a paid call.

    It is made of a trial that exists, by `declare`: to make one anew would ask the sampler again.
    """

    names: AskedNames

    @property
    def params(self) -> dict[str, Any]:
        """The values suggested so far."""
        self.names.ask_for_all()
        return super().params

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if not distribution.single() or name in self.names.declared:  # what has one value, no sampler is asked for
            self.names.ask(name)
        # A thousand trials share the range that was proposed in, where each would keep one that is equal to it.
        shared = (self.relative_search_space or EMPTY).get(name)
        return super()._suggest(name, shared if shared == distribution else distribution)


def declare(trial: Trial, declared: Collection[str], fixed: Collection[str]) -> AskedNames:
    """Let `trial` suggest the names that are declared, `fixed` by its sampler, or its own already."""
    names = AskedNames(declared, also={*fixed, *trial._fixed_params, *trial._cached_frozen_trial.distributions})
    trial.__class__ = DeclaredTrial
    vars(trial)["names"] = names
    return names
