"""What travels between a run and a call of an executor: a trial as its objective is told of it, and what came of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna import Trial
from optuna.pruners import NopPruner

from ...engine.process import Process, this_process
from ...engine.records import Params, SearchSpace
from ...engine.study.optuna_internals import declared_names, enqueued_values, written_values
from ..messages import Done, Task
from .mailbox import Letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that an objective's process is told of a trial, beside the objective.

    `params` are written already; `proposed` may be suggested within `ranges`; `enqueued` whatever is asked for.
    `declared` are the names of a declared space, None without one. `path` is where `run` looks for modules. `calls` and
    `answers` are paths of the trial's files; `prunes`: its pruner ever prunes, so that asking it has a point.
    """

    task: Task
    params: Params
    distributions: SearchSpace
    proposed: Params
    ranges: SearchSpace
    enqueued: Params
    declared: tuple[str, ...] | None
    user_attrs: Mapping[str, Any]
    datetime_start: datetime | None
    run: Process
    path: tuple[str, ...]
    calls: str
    answers: str
    prunes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What an objective's process says first, and again once the objective is loaded.

    `belongs`: the run's own process started it, and may end it. `interruptible`: a signal ends the objective, as Ctrl-C
    would.
    """

    process: Process
    belongs: bool
    loaded: bool = False
    interruptible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """What came of an assignment: its end, and all calls that its objective made of the trial, pickled, in order.

    Those that the study heard of while the objective ran are the first of these. `refused` is what the objective was
    told of a name that it may not suggest, empty if there was none. `read_params`: it looked at all parameters at once.
    `unanswered`: it asked `should_prune()`, and nobody answered. `unseen`: the trial's files are not seen where it ran.
    """

    done: Done
    calls: tuple[bytes, ...] = ()
    refused: str = ""
    read_params: bool = False
    unanswered: bool = False
    unseen: bool = False


def assignment_of(trial: Trial, letters: Letters) -> Assignment:
    """What travels of a trial; may ask the study's sampler, once, for what it proposes."""
    names = declared_names(trial)
    study = trial.study
    return Assignment(
        task=Task(number=trial.number, study_name=study.study_name, direction=study.direction),
        proposed=dict(trial.relative_params),
        ranges=dict(trial.relative_search_space or {}),
        params=written_values(trial),
        distributions=dict(trial.distributions),
        enqueued=enqueued_values(trial),
        declared=None if names is None else tuple(names.declared),
        user_attrs=trial.user_attrs,
        datetime_start=trial.datetime_start,
        run=this_process(),
        path=tuple(folder for folder in sys.path if isinstance(folder, str)),
        calls=letters.calls.path,
        answers=letters.answers.path,
        prunes=not isinstance(study.pruner, NopPruner),
    )
