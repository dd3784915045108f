"""A study that is shown for as long as somebody watches."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from optuna_llm.cli.showing import fitted, follow, study_as_text
from optuna_llm.engine.process import this_host


class Over(Exception):
    """Nobody watches any more."""


def watched(drawings: Iterator[str]) -> tuple[list[str], int]:
    """What was put of these drawings, and how often somebody waited."""
    put: list[str] = []
    waits = 0

    def draw() -> str:
        try:
            return next(drawings)
        except StopIteration:
            raise Over from None

    def wait() -> None:
        nonlocal waits
        waits += 1

    with pytest.raises(Over):
        follow(draw, put.append, wait)
    return put, waits


def test_what_has_changed_is_put_again_and_what_has_not_is_not() -> None:
    assert watched(iter(["a", "a", "b", "b", "a"])) == (["a", "b", "a"], 5)


def test_trials_and_runs_that_come_are_drawn() -> None:
    study = optuna.create_study()

    def drawings() -> Iterator[str]:
        yield study_as_text(study)
        study.add_trial(create_trial(value=0.25))
        yield study_as_text(study)
        study.set_user_attr("llm_run:r1", {"ended": 1.0e9, "stop_reason": "n_trials", "n_complete": 1})
        yield study_as_text(study)

    first, second, third = watched(drawings())[0]
    assert "COMPLETE" not in first
    assert "0.25" in second
    assert "r1" not in second
    assert third.startswith(second)
    assert third.splitlines()[-1].split()[:2] == ["r1", "n_trials"]


def test_the_best_trial_is_shown_with_its_parameters() -> None:
    study = optuna.create_study()
    assert "Best" not in study_as_text(study)
    for value in (0.5, 0.25, 0.75):
        study.add_trial(create_trial(value=value, params={"x": value}, distributions={"x": FloatDistribution(0, 1)}))
    assert study_as_text(study).splitlines()[-1] == "Best is trial 1 with value 0.25: x = 0.25"


@pytest.mark.parametrize(
    ("lines", "kept"), [(9, "head 1 2 3 4"), (5, "head 1 2 3 4"), (3, "head 3 4"), (1, "head"), (0, "head")]
)
def test_on_a_low_terminal_the_head_and_the_last_lines_stay(lines: int, kept: str) -> None:
    assert fitted("\n".join(["head", "1", "2", "3", "4"]), lines).split() == kept.split()


def test_whoever_stops_the_wait_ends_it() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    seen: list[str] = []
    draw: Callable[[], str] = lambda: "a"  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        follow(draw, seen.append, stop)
    assert seen == ["a"]


def test_a_run_whose_process_is_gone_is_shown_to_have_died_and_when() -> None:
    study = optuna.create_study()
    gone = {"host": this_host(), "pid": os.getpid(), "started": "before this one", "at": 1.0e9, "model": "m"}
    study.set_user_attr("llm_run:r1", gone)
    (shown,) = [line.split() for line in study_as_text(study).splitlines() if line.startswith("r1")]
    assert shown[:6] == ["r1", "died", "-", "0", "0", "0"]
    assert " ".join(shown[6:]) == datetime.fromtimestamp(1.0e9).isoformat(" ")  # noqa: DTZ006  # as Optuna's times are
