"""`LLMGuidedSampler` as a drop-in: Optuna's own suites, `study.optimize`, define-by-run, copies, clear errors."""

import copy
import logging
import pickle
import threading
from collections.abc import Callable
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import TrialState
from support import SPACE, SchemaModel, Script, answer, llm_sampler, sampler

from optuna_llm import (
    AuthenticationError,
    FunctionClient,
    LLMGuidedSampler,
    ProposalError,
    TransientError,
    UsageError,
    ask_async,
    optimize_async,
)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
class TestOptunasOwnSuites(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return sampler


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    momentum = trial.suggest_float("momentum", 0.0, 1.0, step=0.1)
    layers = trial.suggest_int("layers", 1, 9, step=2)
    trial.suggest_categorical("optimizer", ("adam", "sgd", None))
    return lr + momentum + layers


def conditional(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("kind", ["svm", "tree"]) == "svm":
        return trial.suggest_float("c", 0.1, 10, log=True)
    return trial.suggest_int("depth", 1, 9)


def test_eight_jobs_propose_whole_configurations() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE, strategy="plain"))
    study.optimize(objective, n_trials=200, n_jobs=8)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 200
    assert len(model.requests) == sum(trial.user_attrs["llm"]["calls"] for trial in study.trials)
    assert all(set(request.schema["properties"]) == {"rationale", *SPACE} for request in model.requests)
    sent = {document["lr"] for document in model.documents}
    assert {trial.params["lr"] for trial in study.trials} <= sent
    assert all(trial.user_attrs["llm"]["model"] == "test-model" for trial in study.trials)


def test_without_a_declared_space_each_new_name_costs_one_call_and_every_later_trial_one() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))
    study.optimize(objective, n_trials=12, n_jobs=4)
    keys = [tuple(sorted(set(request.schema["properties"]) - {"rationale"})) for request in model.requests]
    assert sorted(keys) == sorted([(name,) for name in SPACE] + [tuple(sorted(SPACE))] * 11)


def test_a_discovered_value_is_asked_for_given_those_already_fixed() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.optimize(objective, n_trials=1)
    assert "fixed values: lr = " in model.prompts[1]
    assert "layers = " in model.prompts[3]
    record = study.trials[0].user_attrs["llm"]
    assert record["role"] == "discovery"
    assert record["calls"] == 4
    assert record["usage"]["prompt_tokens"] == 400


def test_conditional_branches_become_a_union() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))
    study.optimize(conditional, n_trials=30)
    both = [r for r in model.requests if {"kind", "c", "depth"} <= set(r.schema["properties"])]
    assert len(both) > 20
    for trial in study.trials:
        assert set(trial.params) == ({"kind", "c"} if trial.params["kind"] == "svm" else {"kind", "depth"})


def test_a_first_trial_that_waits_for_another_does_not_wait_for_its_end() -> None:
    """Both objectives meet at a barrier: a second trial that waited for the first one's end would never come."""
    together = threading.Barrier(2, timeout=30)

    def meet(trial: optuna.Trial) -> float:
        value = trial.suggest_float("x", 0, 1)
        together.wait()
        return value

    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.optimize(meet, n_trials=2, n_jobs=2)
    assert len(model.requests) == 2


def test_ask_and_tell_on_one_thread_never_waits_for_itself() -> None:
    study = optuna.create_study(sampler=sampler())
    first, second = study.ask(), study.ask()
    values = [trial.suggest_float("x", 0, 1) for trial in (first, second)]
    study.tell(second, values[1])
    study.tell(first, values[0])
    assert len(study.trials) == 2


def test_a_range_that_changed_keeps_the_proposal_within_the_new_one() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    study.optimize(lambda trial: trial.suggest_float("x", 5, 6), n_trials=2)
    assert study.trials[2].params["x"] == 5.0
    assert "the range had changed" in study.trials[2].user_attrs["llm"]["repairs"][0]
    assert 5.0 <= study.trials[3].params["x"] <= 6.0
    assert len(model.requests) == 4


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_useless_replies_raise_and_leave_nothing_proposed_or_running(n_jobs: int) -> None:
    study = optuna.create_study(sampler=sampler(Script("no"), search_space=SPACE))
    with pytest.raises(ProposalError, match="gave no valid configuration in 3 attempts"):
        study.optimize(objective, n_trials=10, n_jobs=n_jobs)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert all(trial.params == {} for trial in study.trials)


def test_useless_replies_in_a_discovery_raise_too() -> None:
    study = optuna.create_study(sampler=sampler(Script("{}")))
    with pytest.raises(ProposalError):
        study.optimize(objective, n_trials=10)
    assert [(trial.state, trial.params) for trial in study.trials] == [(TrialState.FAIL, {})]


def test_a_wrong_reply_is_asked_anew_with_the_exact_violation() -> None:
    script = Script({"x": "fast"}, {"x": 0.5})
    study = optuna.create_study(sampler=sampler(script, search_space={"x": FloatDistribution(0, 1)}))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    first, second = script.requests
    assert list(second.messages[: len(first.messages)]) == list(first.messages)
    assert "fast" in second.messages[-2]["content"]
    assert "x" in second.messages[-1]["content"]
    assert "number" in second.messages[-1]["content"]
    assert study.trials[0].params == {"x": 0.5}
    assert study.trials[0].user_attrs["llm"]["reasks"] == 1


def test_a_fatal_client_error_stops_the_study_even_if_exceptions_are_caught() -> None:
    study = optuna.create_study(sampler=sampler(Script(AuthenticationError("no key")), search_space=SPACE))
    study.optimize(objective, n_trials=50, catch=(AuthenticationError,))
    assert len(study.trials) == 1


def test_a_transient_client_error_does_not_stop_the_study() -> None:
    script = Script(TransientError("down", retry_after=3600), SchemaModel())  # too long to wait for
    study = optuna.create_study(sampler=sampler(script, search_space=SPACE))
    study.optimize(objective, n_trials=3, catch=(TransientError,))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_fatal_client_error_stops_the_study_behind_a_filtering_pruner_too() -> None:
    model = sampler(Script(AuthenticationError("no key")), search_space=SPACE)
    study = optuna.create_study(sampler=model, pruner=optuna.pruners.HyperbandPruner(max_resource=3))
    study.optimize(objective, n_trials=50, catch=(AuthenticationError,))
    assert len(study.trials) == 1


def test_a_users_exception_in_the_model_function_is_raised_as_it_is() -> None:
    study = optuna.create_study(sampler=sampler(Script(LookupError("mine")), search_space=SPACE))
    with pytest.raises(LookupError, match="mine"):
        study.optimize(objective, n_trials=3)


def test_a_coroutine_function_given_to_study_optimize_is_refused() -> None:
    async def coroutine(trial: Any) -> float:
        return 1.0

    study = optuna.create_study(sampler=sampler(search_space=SPACE))
    with pytest.raises(UsageError, match="optimize_async"):
        study.optimize(coroutine, n_trials=3)  # type: ignore[arg-type]
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}


def test_a_multi_objective_study_is_refused_before_its_objective_runs() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler())
    called: list[int] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        called.append(trial.number)
        return 0.0, 0.0

    with pytest.raises(UsageError, match="2 objectives"):
        study.optimize(objective, n_trials=3)
    assert called == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_enqueued_values_are_honoured_and_the_rest_is_proposed() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE))
    study.enqueue_trial({"lr": 0.01})
    study.optimize(objective, n_trials=1)
    assert study.trials[0].params["lr"] == 0.01
    assert set(model.requests[0].schema["properties"]) == {"rationale", "momentum", "layers", "optimizer"}


def test_pruners_that_filter_the_study_do_not_hide_trials_from_the_model() -> None:
    model = SchemaModel()
    pruner = optuna.pruners.HyperbandPruner(max_resource=3)
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE), pruner=pruner)

    def reporting(trial: optuna.Trial) -> float:
        value = objective(trial)
        trial.report(value, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    study.optimize(reporting, n_trials=10)
    rows = model.prompts[-1].split("# Finished trials")[1].split("\n\n")[0].strip().splitlines()
    assert len(rows) == 1 + 1 + 9


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_works_inside_partial_fixed_sampler() -> None:
    model = SchemaModel()
    inner = sampler(model, search_space=SPACE)
    study = optuna.create_study(sampler=optuna.samplers.PartialFixedSampler({"layers": 5}, inner))
    study.optimize(objective, n_trials=3)
    assert {trial.params["layers"] for trial in study.trials} == {5}
    assert all("layers" not in request.schema["properties"] for request in model.requests)


def test_a_single_valued_space_costs_no_call() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    anyio.run(
        lambda: optimize_async(study, lambda t: t.params["x"], n_trials=2, search_space={"x": FloatDistribution(1, 1)})
    )
    assert [trial.params for trial in study.trials] == [{"x": 1.0}] * 2
    assert model.requests == []


def module_model(request: Any) -> dict[str, Any]:
    import random

    return answer(request.schema, random.Random(0))


def test_pickles_and_deep_copies_start_fresh_and_work() -> None:
    original = LLMGuidedSampler(FunctionClient(module_model), task="t", parameters={"x": "size"}, search_space=SPACE)
    study = optuna.create_study(sampler=original)
    study.optimize(objective, n_trials=2)
    for copied in (pickle.loads(pickle.dumps(original)), copy.deepcopy(original)):
        again = optuna.create_study(sampler=copied)
        again.optimize(objective, n_trials=2)
        assert len(again.trials) == 2
        assert repr(copied) == repr(original)


def test_a_deep_copy_shares_the_client_object() -> None:
    model = SchemaModel()
    original = sampler(model, search_space=SPACE)
    study = optuna.create_study(sampler=copy.deepcopy(original))
    study.optimize(objective, n_trials=2)
    assert len(model.requests) == 2


def test_a_sampler_rebuilt_from_nothing_asks_the_same() -> None:
    old_model, new_model = SchemaModel(1), SchemaModel(2)
    study = optuna.create_study(sampler=sampler(old_model, search_space=SPACE))
    study.optimize(objective, n_trials=12)
    twin = optuna.create_study(sampler=sampler(new_model, search_space=SPACE))
    twin.add_trials(study.trials)
    before = len(old_model.prompts)
    for one in (study, twin):
        one.ask(SPACE)
    assert old_model.prompts[before] == new_model.prompts[0]


def test_a_long_history_is_taken_in_by_slices_and_gives_the_same_prompt() -> None:
    models = [SchemaModel(1), SchemaModel(1)]
    trials = [
        optuna.create_trial(value=float(n), params={"x": n / 500}, distributions={"x": FloatDistribution(0, 1)})
        for n in range(333)
    ]
    for model, together in zip(models, (True, False), strict=True):
        study = optuna.create_study(sampler=sampler(model, search_space={"x": FloatDistribution(0, 1)}))
        if not together:  # one after the other, looked at in between
            for trial in trials[:20]:
                study.add_trial(trial)
                llm_sampler(study).door(study).refresh()
            study.add_trials(trials[20:])
        else:
            study.add_trials(trials)
        study.ask().suggest_float("x", 0, 1)
    assert models[0].prompts[0] == models[1].prompts[0]
    assert "332,332," in models[0].prompts[0]


def test_runs_under_anyio_twice_in_a_row() -> None:
    study = optuna.create_study(sampler=sampler())

    async def run() -> None:
        await optimize_async(study, lambda trial: trial.params["momentum"], n_trials=5, search_space=SPACE)

    for _ in range(2):
        anyio.run(run)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 10


def test_a_batch_is_asked_for_at_once_and_each_trial_is_complete() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    trials = anyio.run(lambda: ask_async(study, 5, search_space=SPACE))
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert all(set(trial.params) == set(SPACE) for trial in trials)
    for trial in trials:
        study.tell(trial, 1.0)
    assert len(model.requests) == 5


def test_a_batch_that_fails_creates_nothing() -> None:
    study = optuna.create_study(sampler=sampler(Script(SchemaModel(), "no")))
    with pytest.raises(ProposalError):
        anyio.run(lambda: ask_async(study, 4, search_space=SPACE))
    assert study.trials == []


def test_a_batch_hands_out_enqueued_trials_first() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.enqueue_trial({"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "sgd"})
    trials = anyio.run(lambda: ask_async(study, 3, search_space=SPACE))
    assert trials[0].params["lr"] == 0.01
    assert len(model.requests) == 2


def test_proposals_can_be_had_without_trials() -> None:
    one = sampler(search_space=SPACE)
    study = optuna.create_study(sampler=one)
    proposals = anyio.run(lambda: one.propose(study, 3))
    assert len(proposals) == 3
    assert study.trials == []
    assert all(set(proposal.params) == set(SPACE) for proposal in proposals)
    assert one.door(study).snapshot().reserved == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "  "}, "model"),
        ({"model": 7}, "model"),
        ({"search_space": {}}, "empty"),
        ({"search_space": {"x": FloatDistribution(0, float("inf"))}}, "finite"),
        ({"search_space": {3: FloatDistribution(0, 1)}}, "string"),
        ({"task": 3}, "task"),
        ({"parameters": {"x": 3}}, "parameters"),
        ({"max_reasks": -1}, "max_reasks"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LLMGuidedSampler(**{"model": FunctionClient(module_model), **arguments})


def test_proposing_without_a_known_parameter_is_a_usage_error() -> None:
    one = sampler()
    with pytest.raises(UsageError, match="search_space="):
        anyio.run(lambda: one.propose(optuna.create_study(sampler=one)))


def test_a_space_of_choices_that_look_alike_is_told_apart() -> None:
    space = {"x": CategoricalDistribution(("1", "one", 2.0, False))}
    study = optuna.create_study(sampler=sampler(search_space=space))
    study.optimize(lambda t: float(t.suggest_categorical("x", ("1", "one", 2.0, False)) == "1"), n_trials=20)
    assert {type(trial.params["x"]) for trial in study.trials} == {str, float, bool}


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, 1), ({"task": "Tune it."}, 0), ({"task": ["Tune it.", "On this."]}, 0), ({"parameters": {"lr": "rate"}}, 0)],
)
def test_of_a_model_by_name_that_is_told_nothing_a_line_is_said(
    options: dict[str, Any], said: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        LLMGuidedSampler("openai/gpt-5.4-mini", **options)
    finally:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert [record.getMessage().startswith("Neither task= nor") for record in caplog.records] == [True] * said
