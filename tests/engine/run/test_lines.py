"""A run says each trial as Optuna does, failures with their reason, and an end that was no good one."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import AsyncTrial, AuthenticationError, Budget, RunReport, optimize_async
from optuna_llm.engine.run.lines import LOUD_AFTER, numbers, trial_line

Lines = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """Level and text of what was said since the last call."""

    def taken() -> list[tuple[str, str]]:
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return said

    optuna.logging.set_verbosity(optuna.logging.INFO)
    caplog.set_level(logging.INFO)
    yield taken
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def new_study(model: Any = None, **options: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler(model), **options)


def run(study: optuna.Study, objective: Any, **options: Any) -> RunReport:
    return anyio.run(lambda: optimize_async(study, objective, search_space=SPACE, **options))


def momentum(trial: optuna.Trial) -> float:
    return float(trial.params["momentum"])


def with_level(lines: list[tuple[str, str]], level: str) -> list[str]:
    return [text for name, text in lines if name == level]


# -- a trial


@pytest.mark.filterwarnings("ignore:.*set_metric_names:optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("named", [None, "loss"])
def test_a_complete_trial_is_said_word_for_word_as_optuna_says_it(lines: Lines, direction: Any, named: Any) -> None:
    study = new_study(direction=direction)
    if named:
        study.set_metric_names([named])
    values = iter([0.5, 0.25, 0.75, 0.25])
    run(study, lambda trial: next(values), n_trials=4)
    ours = [text for _, text in lines() if text.startswith("Trial ")]
    twin = optuna.create_study(direction=direction, sampler=RandomSampler())
    if named:
        twin.set_metric_names([named])
    for trial in study.trials:
        twin.enqueue_trial(trial.params)
    lines()
    values = iter([0.5, 0.25, 0.75, 0.25])
    twin.optimize(lambda trial: given(trial, next(values)), n_trials=4)
    assert ours == [text for _, text in lines() if text.startswith("Trial ")]


def given(trial: optuna.Trial, value: float) -> float:
    for name, distribution in SPACE.items():
        trial._suggest(name, distribution)
    return value


def test_a_pruned_trial_is_said_with_the_words_of_its_exception(lines: Lines) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise optuna.TrialPruned("" if trial.number else "worse than half at step 3")

    run(new_study(), objective, n_trials=2)
    assert [text for _, text in lines() if "pruned." in text] == [
        "Trial 0 pruned. worse than half at step 3",
        "Trial 1 pruned.",
    ]


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        (lambda trial: os.environ["NO"], "KeyError: 'NO'"),
        (lambda trial: float("nan"), "ValueError: the objective returned NaN"),
        (lambda trial: None, "ValueError: the objective returned None, which is not a number (is a `return` missing?)"),
    ],
)
def test_a_failed_trial_is_a_warning_with_its_reason(lines: Lines, objective: Any, why: str) -> None:
    study = new_study()
    run(study, objective, n_trials=1, catch=Exception)
    params = study.trials[0].params
    said = with_level(lines(), "WARNING")
    assert said[0] == f"Trial 0 failed with parameters: {params} because of the following error: {why}."


def test_a_trial_over_its_time_says_so(lines: Lines) -> None:
    async def objective(trial: AsyncTrial) -> float:
        await anyio.sleep_forever()
        return 0.0

    run(new_study(), objective, n_trials=1, trial_timeout=1e-3)
    assert "TimeoutError: the objective ran longer than trial_timeout=0.001 s" in with_level(lines(), "WARNING")[0]


def test_a_secret_in_an_exception_is_not_said(lines: Lines) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise ValueError("refused sk-abcdefgh12345678")

    run(new_study(), objective, n_trials=1, catch=ValueError)
    assert "abcdefgh" not in str(lines())


def test_a_trial_that_somebody_else_failed_has_no_known_reason() -> None:
    assert "unknown, somebody else failed it" in trial_line(create_trial(state=TrialState.FAIL), None)


def test_the_best_trial_keeps_its_constraints(lines: Lines) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_constraint("too large", 1.0 if trial.number == 1 else 0.0)
        return 0.5 - 0.1 * trial.number

    run(new_study(), objective, n_trials=2)
    assert "Best is trial 0 with value: 0.5." in next(text for _, text in lines() if text.startswith("Trial 1 "))


def test_study_optimize_says_each_trial_once(lines: Lines) -> None:
    study = new_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert sum(text.startswith("Trial ") for _, text in lines()) == 3


def test_nothing_is_said_below_optunas_verbosity(lines: Lines) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run(new_study(), momentum, n_trials=3)
    assert lines() == []


# -- nothing but failures


def failing(*good: int, prune: bool = False) -> Any:
    def objective(trial: optuna.Trial) -> float:
        if trial.number in good:
            if prune:
                raise optuna.TrialPruned
            return 1.0
        raise OSError("no such file")

    return objective


@pytest.mark.parametrize("workers", [1, 4])
def test_first_trials_that_all_fail_are_said_once_and_loudly(lines: Lines, workers: int) -> None:
    study = new_study()
    run(study, failing(), n_trials=9, n_workers=workers, catch=OSError)
    said = lines()
    (loud,) = with_level(said, "ERROR")
    assert f"first {LOUD_AFTER} trials of this run all failed" in loud
    assert "OSError: no such file" in loud
    at = [text for _, text in said].index(loud)
    assert sum(text.startswith("Trial ") for _, text in said[:at]) == LOUD_AFTER  # at once


@pytest.mark.parametrize(
    ("options", "ends", "rate"),
    [
        ({"n_trials": 3}, False, False),
        ({"n_trials": 4}, True, False),
        ({"n_trials": 5}, True, False),  # a rate ends a run after five trials: there is no sixth
        ({"n_trials": 6}, True, True),
        ({"n_trials": 6, "max_failure_rate": 0.9}, True, False),
        ({"n_trials": 4, "n_workers": 4}, False, False),  # all of them have begun
        ({"n_trials": 6, "n_workers": 4}, False, False),  # so have these: three began where three had ended
        ({"n_trials": 8, "n_workers": 4}, True, False),
        ({"n_trials": 9, "n_workers": 4}, True, True),
        ({"total_trials": 9}, True, True),
    ],
)
def test_what_they_advise_is_what_can_still_help(
    lines: Lines, options: dict[str, Any], *, ends: bool, rate: bool
) -> None:
    run(new_study(), failing(), catch=OSError, **options)
    loud = with_level(lines(), "ERROR")[0]
    assert ("stop the run" in loud, "max_failure_rate=" in loud) == (ends, rate)
    assert re.search("[Mm]end the objective", loud)


@pytest.mark.parametrize("prune", [False, True])
def test_failures_beside_good_trials_are_not_loud(lines: Lines, prune: bool) -> None:
    run(new_study(), failing(1, prune=prune), n_trials=9, catch=OSError)
    assert with_level(lines(), "ERROR") == []


def test_a_second_run_of_failures_is_said_again(lines: Lines) -> None:
    study = new_study()
    for _ in range(2):
        run(study, failing(), n_trials=4, catch=OSError)
    assert len(with_level(lines(), "ERROR")) == 2


def test_a_run_whose_trials_all_fail_ends_and_says_how_to_go_on(lines: Lines) -> None:
    model = SchemaModel()
    report = run(new_study(model), failing(), total_trials=50, n_workers=2, catch=OSError)
    assert (report.stop_reason, report.n_complete) == ("all_failed", 0)
    assert report.n_failed in (10, 11)  # the other worker's trial is told too
    assert len(model.requests) <= 12
    said = with_level(lines(), "ERROR")[-1]
    assert said.startswith(f"The first {report.n_failed} trials of this run all failed alike, the last one because of ")
    assert "start the same run again" in said
    assert "max_failure_rate=1" in said


@pytest.mark.parametrize("options", [{"max_failure_rate": 1}, {"n_trials": 30}])
def test_who_gives_a_rate_or_a_number_of_trials_has_all_of_them(options: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 25:
            trial.study.stop()
        raise OSError("infeasible")

    report = run(new_study(), objective, total_trials=50, catch=OSError, **options)
    assert (report.stop_reason, report.n_failed) == ("stop", 26)


def test_another_sampler_pays_for_nothing_and_goes_on() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 25:
            trial.study.stop()
        raise OSError("infeasible")

    report = run(optuna.create_study(sampler=RandomSampler(seed=0)), objective, total_trials=50, catch=OSError)
    assert (report.stop_reason, report.n_failed) == ("stop", 26)


# -- begin and end


def test_a_run_that_ends_well_says_so_quietly(lines: Lines) -> None:
    run(new_study(), momentum, n_trials=2)
    level, text = lines()[-1]
    assert level == "INFO"
    assert text.startswith("Run ended by n_trials after ")
    assert "2 complete, 0 pruned, 0 failed; 2 LLM calls, 220 tokens, $0.0020" in text
    assert re.search(r"\. Best is trial [01] with value: \S+$", text)


def test_one_of_a_thing_is_not_several(lines: Lines) -> None:
    report = run(new_study(), momentum, n_trials=1)
    assert "; 1 LLM call, 110 tokens, " in lines()[-1][1]
    assert re.search(r"model +1 call, 110 tokens \(", str(report))


def test_a_run_with_failures_ends_with_a_warning_that_says_where_to_look(lines: Lines) -> None:
    run(new_study(), failing(0), n_trials=3, catch=OSError)
    level, text = lines()[-1]
    assert level == "WARNING"
    assert "1 complete, 0 pruned, 2 failed" in text
    assert "user attribute 'failure'" in text


@pytest.mark.parametrize(
    ("model", "budget", "reason"),
    [
        (None, Budget(requests=1), "budget"),
        (Script(AuthenticationError("no key")), None, "error"),
        (Script("no"), None, "failed proposals"),
    ],
)
def test_a_run_that_is_cut_short_ends_with_a_warning(lines: Lines, model: Any, budget: Any, reason: str) -> None:
    study = optuna.create_study(sampler=sampler(model, budget=budget))
    try:
        run(study, momentum, n_trials=5)
    except Exception as error:
        assert reason != "budget", error  # noqa: PT017
    level, text = lines()[-1]
    assert level == "WARNING"
    assert text.startswith(f"Run ended by {reason} after ")


def test_a_cancelled_run_ends_with_a_warning(lines: Lines) -> None:
    async def objective(trial: AsyncTrial) -> float:
        scopes[0].cancel()
        await anyio.sleep_forever()
        return 0.0

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await optimize_async(new_study(), objective, n_trials=5, search_space=SPACE)

    scopes: list[anyio.CancelScope] = []
    anyio.run(main)
    level, text = lines()[-1]
    assert level == "WARNING"
    assert text.startswith("Run ended by cancellation after ")


@pytest.mark.parametrize("given", [{"n_trials": 1}, {"timeout": 3600}, {"total_trials": 1}, {"budget": True}, {}])
def test_no_end_is_said_before_the_first_trial(lines: Lines, given: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.study.stop()
        return 1.0

    budget = Budget(requests=9) if given.pop("budget", False) else None
    bare = not given and budget is None
    run(optuna.create_study(sampler=sampler(budget=budget)), objective, **given)
    said = [text for _, text in lines()]
    assert [text.startswith("No end is given") for text in said].count(True) == bare
    if bare:
        assert "n_trials=" in said[1]  # after Optuna's "A new study created"


def test_no_end_is_said_of_other_samplers_too(lines: Lines) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.study.stop()
        return 1.0

    run(optuna.create_study(sampler=RandomSampler()), objective)
    assert any(text.startswith("No end is given") for text in with_level(lines(), "WARNING"))


def test_of_many_numbers_the_first_are_named() -> None:
    trials = [create_trial(value=1.0) for _ in range(12)]
    assert numbers(trials[:1]) == "-1"
    assert numbers(trials).endswith("and 2 more")


PLAIN = """
import anyio, optuna
from support import SPACE, sampler
from optuna_llm import optimize_async
study = optuna.create_study(sampler=sampler())
options = {"n_trials": 2, "search_space": SPACE, "catch": ArithmeticError}
anyio.run(lambda: optimize_async(study, lambda trial: 1 / trial.number + 0 * len(trial.params), **options))
"""


def test_with_nothing_set_up_a_script_shows_its_trials_in_optunas_format() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])}
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, env=environment, check=True)
    shown = done.stderr.splitlines()
    assert [line[:3] for line in shown] == ["[I ", "[W ", "[I ", "[W "]
    assert "Trial 0 failed" in shown[1]
    assert "ZeroDivisionError: division by zero" in shown[1]
    assert "Trial 1 finished with value: 1.0" in shown[2]


def test_a_budget_that_pays_for_no_request_is_said_once_with_its_numbers(lines: Lines) -> None:
    study = optuna.create_study(sampler=sampler(budget=Budget(tokens=5)))
    report = run(study, momentum, n_trials=9, n_workers=3)
    assert report.stop_reason == "budget"
    (line,) = [text for text in with_level(lines(), "WARNING") if "Nothing more is asked for" in text]
    assert "the budget (5 tokens) is too small for a first request: nothing is spent, and the next request may" in line
