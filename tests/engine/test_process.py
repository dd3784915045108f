"""A process that is forked inside an objective ends where it would leave that, with the code of what it leaves by."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import anyio
import optuna
import pytest
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, optimize_async
from optuna_llm.engine.process import ending_forked_children

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python's own, about any fork


def leave(by: Any) -> float:
    """Leave a child's objective; a test waits for its exit code."""
    if isinstance(by, BaseException):
        raise by
    return float(by)


LEAVING = [(1.0, 0), (SystemExit(), 0), (SystemExit(7), 7), (SystemExit("no"), 1), (ValueError("no"), 1)]
LEAVING += [(KeyboardInterrupt(), 1), (SystemExit(True), 1)]


@pytest.mark.parametrize(("by", "code"), LEAVING, ids=repr)
def test_a_child_ends_with_the_code_of_what_it_leaves_by(by: Any, code: int) -> None:
    with ending_forked_children():
        pid = os.fork()
        if pid == 0:
            leave(by)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code


def test_the_process_itself_goes_on() -> None:
    with pytest.raises(ValueError, match="mine"), ending_forked_children():
        raise ValueError("mine")


@pytest.mark.parametrize(("by", "code"), LEAVING[:5], ids=repr)
def test_a_child_of_an_objective_never_goes_on_with_the_run(by: Any, code: int) -> None:
    model, codes = SchemaModel(), []

    def forking(trial: optuna.Trial) -> float:
        pid = os.fork()
        if pid == 0:
            return leave(by)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return 1.0

    async def forking_async(trial: AsyncTrial) -> float:
        return forking(trial)  # type: ignore[arg-type]

    objectives: list[Callable[..., Any]] = [forking, forking_async]
    for objective in objectives:
        study = optuna.create_study(sampler=sampler(model))
        report = anyio.run(functools.partial(optimize_async, study, objective, n_trials=2, search_space=SPACE))
        assert (report.n_complete, report.n_failed) == (2, 0)
    assert codes == [code] * 4
    assert len(model.requests) == 4
    sys.stdout.flush()
