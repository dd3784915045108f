"""The command line as a person uses it; the model is a server on loopback, or none."""

import json
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from optuna_llm.cli import main
from optuna_llm.samplers.client import local_client

MODULE = """
import optuna
search_space = {"x": optuna.distributions.FloatDistribution(0, 1)}
task = "Tune a toy."
def objective(trial):
    return trial.suggest_float("x", 0, 1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "toy_of_the_command_line.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "toy_of_the_command_line:objective"


@pytest.fixture
def bare_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "bare_toy_of_the_command_line.py").write_text("def objective(trial):\n    return 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "bare_toy_of_the_command_line:objective"


def test_prompt_shows_task_and_parameters_and_sends_nothing(module: str) -> None:
    result = CliRunner().invoke(main, ["prompt", module])
    assert result.exit_code == 0
    assert "Tune a toy." in result.output
    assert "- x: a number from 0 to 1" in result.output


def test_prompt_takes_the_space_of_the_study_where_the_module_declares_none(tmp_path: Path, bare_module: str) -> None:
    path = str(tmp_path / "study.journal")
    study = optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(path)))
    study.add_trial(
        optuna.trial.create_trial(
            value=0.5, params={"y": 2}, distributions={"y": optuna.distributions.IntDistribution(1, 7)}
        )
    )
    result = CliRunner().invoke(main, ["prompt", bare_module, "--storage", path, "--study-name", "s"])
    assert result.exit_code == 0
    assert "- y: an integer from 1 to 7" in result.output


def prompted(module: str, *options: str) -> str:
    result = CliRunner().invoke(main, ["prompt", module, *options])
    assert result.exit_code == 0
    return result.output


def test_prompt_says_how_many_trials_are_left(module: str) -> None:
    assert "proposals are left" not in prompted(module)
    assert "17 proposals are left" in prompted(module, "--n-trials", "17")


@pytest.mark.parametrize(
    ("mode", "told"), [("json_schema", False), ("tool", False), ("json_object", True), ("prompt", True)]
)
def test_prompt_has_the_form_of_the_answer_where_words_tell_it(module: str, mode: str, *, told: bool) -> None:
    form = "Answer with one JSON object and nothing else"
    assert (form in prompted(module, "--structured-output", mode)) is told


def test_prompt_shows_what_each_strategy_would_say(tmp_path: Path, module: str) -> None:
    path = str(tmp_path / "study.journal")
    study = optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(path)))
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
    study.add_trials(
        [optuna.trial.create_trial(value=n / 9, params={"x": n / 9}, distributions=space) for n in range(10)]
    )
    of_study = ("--storage", path, "--study-name", "s")
    free, menu = (prompted(module, *of_study, "--strategy", name) for name in ("plain", "menu"))
    assert "Take it from these candidates" in menu
    assert "Take it from these candidates" not in free
    assert len(study.trials) == 10


def test_prompt_without_any_space_is_wrong_usage(bare_module: str) -> None:
    result = CliRunner().invoke(main, ["prompt", bare_module])
    assert result.exit_code == 2
    assert "search_space" in result.output


def test_show_gives_rows_as_json_and_as_text_without_control_characters(tmp_path: Path) -> None:
    path = str(tmp_path / "study.journal")
    study = optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(path)))
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"failure": {"type": "Bad\x1b[2J"}}))
    study.set_user_attr("llm_run:r", {"ended": 1.0e9, "stop_reason": "budget\x1b[2J", "seconds": 2.5, "n_complete": 1})
    shown = json.loads(CliRunner().invoke(main, ["show", path, "s", "--json"]).stdout)
    assert [row["value"] for row in shown["trials"]] == [0.5]
    assert [run["seconds"] for run in shown["runs"]] == [2.5]
    text = CliRunner().invoke(main, ["show", path, "s"]).stdout
    assert "COMPLETE" in text
    assert "stop_reason" in text
    assert "budget" in text
    assert "\x1b" not in text


def test_a_study_that_is_not_there_is_wrong_usage_and_names_those_that_are(tmp_path: Path) -> None:
    path = str(tmp_path / "study.journal")
    optuna.create_study(study_name="mine", storage=JournalStorage(JournalFileBackend(path)))
    result = CliRunner().invoke(main, ["show", path, "other"])
    assert result.exit_code == 2
    assert "'mine'" in result.output


@pytest.mark.parametrize("name", ["nowhere_at_all:objective", "json:nothing", "json"])
def test_an_objective_that_is_not_there_is_wrong_usage(name: str) -> None:
    result = CliRunner().invoke(main, ["prompt", name])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_run_without_an_end_is_wrong_usage(module: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "study.journal")
    result = CliRunner().invoke(main, ["run", module, "--storage", storage, "--study-name", "s", "--model", "openai/x"])
    assert result.exit_code == 2
    assert "--n-trials" in result.output


def test_run_refuses_a_cap_in_dollars_for_a_local_model_before_anything_is_loaded(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "never-loaded.gguf"
    weights.touch()
    monkeypatch.setattr(local_client, "servers", None)
    storage = tmp_path / "study.journal"
    words = ["run", module, "--storage", str(storage), "--study-name", "s", "--model", f"local:{weights}"]
    result = CliRunner().invoke(main, [*words, "--budget-usd", "1"])
    assert result.exit_code == 2
    assert "--budget-requests or --budget-tokens" in result.output
    assert not storage.exists()


@pytest.mark.parametrize("name", ["locall", "Local", "lokal:model.gguf"])
def test_a_misspelt_local_model_is_asked_back(name: str) -> None:
    result = CliRunner().invoke(main, ["check", name])
    meant = f"local{name[name.find(':') :]}" if ":" in name else "local"
    assert result.exit_code == 2
    assert f"did you mean '{meant}'?" in result.output
