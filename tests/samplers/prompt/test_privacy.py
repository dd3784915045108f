"""What is taken out of a prompt, and what is not: as the guide to privacy and the design of contexts say it."""

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from support import prompt, sampler

from optuna_llm import Request, optimize

PATH, KEY = "/data/secret/a.parquet", "sk-abcdefghijklmnop1234"
NAME = f"{PATH} rate {KEY}"
SPACE: dict[str, BaseDistribution] = {
    NAME: FloatDistribution(0.0, 1.0),
    "source": CategoricalDistribution((PATH, KEY, "none")),
}


class Answering:
    """A model that takes the path for `source`, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> dict[str, Any]:
        self.requests.append(request)
        (rate,) = set(request.schema["properties"]) - {"rationale", "source"}
        return {rate: 0.1 * len(self.requests), "source": PATH}


@pytest.fixture
def asked() -> tuple[Request, optuna.Study]:
    """The request of a third trial, after one that violates a constraint and one that failed; and the study."""

    def objective(trial: optuna.Trial) -> float:
        trial.set_constraint(NAME, 0.5)
        if trial.number == 1:
            raise ValueError(f"cannot read {PATH} with token={KEY}")
        return 1.0

    model = Answering()
    options = {"task": f"Read {PATH} with {KEY}.", "parameters": {NAME: f"as {PATH} has it for {KEY}"}}
    study = optuna.create_study(sampler=sampler(model, strategy="plain", **options))
    optimize(study, objective, n_trials=3, catch=ValueError, search_space=SPACE)
    return model.requests[-1], study


def test_what_the_user_wrote_for_the_model_is_sent_as_it_is(asked: tuple[Request, optuna.Study]) -> None:
    text = prompt(asked[0])
    assert f"Read {PATH} with {KEY}." in text
    assert f'(the user calls it "{NAME}")' in text
    assert f"as {PATH} has it for {KEY}" in text
    assert f'one of "{PATH}", "{KEY}", "none"' in text
    assert f",0.1,{PATH}\n" in text


def test_a_choice_that_is_a_path_is_answered_by_that_very_path(asked: tuple[Request, optuna.Study]) -> None:
    request, study = asked
    assert request.schema["properties"]["source"]["enum"] == [PATH, KEY, "none"]
    assert [trial.params["source"] for trial in study.trials] == [PATH] * 3
    assert all(trial.user_attrs["llm"]["repairs"] == [] for trial in study.trials)


def test_what_a_trial_brings_is_sent_without_paths_and_keys(asked: tuple[Request, optuna.Study]) -> None:
    lines = prompt(asked[0]).splitlines()
    assert '1: ValueError: "cannot read <path> with token=[removed]"' in lines
    assert f"0,1 infeasible(_path_rate_removed_ 0.5),0.1,{PATH}" in lines
