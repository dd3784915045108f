"""What runs where an executor has it run: an objective is loaded, called for one trial, and what it did is recorded."""

import functools
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from ...engine.outcome import of_exception
from ...engine.process import this_process
from ..child import done, evaluated
from ..messages import Done
from .assignment import Assignment, Beginning, TrialRecord
from .belonging import belong_to, interruptible, removed_if_killed
from .recorded_calls import RecordedCalls


def run_assignment(objective: bytes, assignment: bytes) -> bytes:
    """Load an objective and run it for a trial; returns a pickled `TrialRecord`, and never raises for it."""
    given: Assignment = pickle.loads(assignment)
    is_elsewhere = given.run.pid != os.getpid()
    belongs = is_elsewhere and given.run.is_here and belong_to(given.run.pid)
    calls = RecordedCalls(given)
    try:
        if is_elsewhere:
            sys.path[:] = dict.fromkeys([*sys.path, *given.path])
        beginning = Beginning(process=this_process(), belongs=belongs)
        calls.begin(beginning)
        loaded = _loaded(objective)  # what is interrupted while it is imported may be broken for good
        with (
            removed_if_killed(os.path.dirname(given.calls)),
            interruptible(calls.is_over) if belongs else nullcontext(False) as can,
        ):
            calls.begin(replace(beginning, loaded=True, interruptible=can))
            end = _ended(loaded, given, calls)
    except BaseException as error:  # a module of the objective is missing here, or the run gave the trial up
        end = done(of_exception(error))
    return pickle.dumps(
        TrialRecord(
            done=end,
            calls=tuple(calls.made),
            refused=calls.refused,
            read_params="params" in calls.read,
            unanswered=calls.unanswered,
            unseen=calls.unseen,
        )
    )


def _ended(objective: Callable[[Any], Any], given: Assignment, calls: RecordedCalls) -> Done:
    if calls.is_over():  # it waited here for longer than its time
        return done(of_exception(TimeoutError("the run gave this trial up before it began")))
    return evaluated(objective, given.task, calls)


@functools.lru_cache(maxsize=1)  # trials of one run follow each other, and share what the objective's module holds
def _loaded(objective: bytes) -> Callable[[Any], Any]:
    loaded: Callable[[Any], Any] = pickle.loads(objective)
    return loaded
