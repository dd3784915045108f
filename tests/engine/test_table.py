"""A study as rows, and as a data frame."""

import builtins
import importlib
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from optuna_llm import UsageError, to_dataframe
from optuna_llm.engine.table import row_of, rows_of

RECORD = {
    "model": "m",
    "role": "refine",
    "form": "plain",
    "reason": "to see whether the model still needs menus",
    "rationale": "Less of it.",
    "calls": 2,
    "reasks": 1,
    "repairs": ["lr was clamped"],
    "duplicate_of": None,
    "usage": {"prompt_tokens": 90, "completion_tokens": 10, "cached_tokens": 64, "written_tokens": 8, "cost": 0.25},
    "latency": 1.5,
    "staleness": 3,
}


def add(study: optuna.Study, state: TrialState, value: float | None = None, **attributes: Any) -> None:
    x = optuna.distributions.FloatDistribution(0, 1)
    params: Mapping[str, Any] = {"x": 0.5} if value is None else {"x": 0.5, "y": 0.25}
    distributions: dict[str, optuna.distributions.BaseDistribution] = dict.fromkeys(params, x)
    study.add_trial(
        create_trial(state=state, value=value, params=dict(params), distributions=distributions, user_attrs=attributes)
    )


@pytest.fixture
def study() -> optuna.Study:
    made = optuna.create_study()
    failure = {"type": "ValueError", "message": "no such file", "traceback": "..."}
    add(made, TrialState.FAIL, llm=RECORD, failure=failure)
    add(made, TrialState.COMPLETE, 2.0, llm=RECORD)
    add(made, TrialState.COMPLETE, 1.0)
    made.ask()
    return made


def test_a_row_says_what_was_tried_what_came_of_it_and_what_asking_took(study: optuna.Study) -> None:
    row = row_of(study.trials[1])
    wanted = {
        "number": 1,
        "state": "COMPLETE",
        "value": 2.0,
        "infeasible": False,
        "params_x": 0.5,
        "params_y": 0.25,
        "role": "refine",
        "form": "plain",
        "reason": "to see whether the model still needs menus",
        "rationale": "Less of it.",
        "calls": 2,
        "repairs": 1,
        "tokens": 100,
        "cached_tokens": 64,
        "written_tokens": 8,
        "cost": 0.25,
        "latency": 1.5,
        "staleness": 3,
        "failure": None,
    }
    assert {name: row[name] for name in wanted} == wanted


def test_every_row_has_every_column_in_one_order(study: optuna.Study) -> None:
    rows = rows_of(study)
    assert [row["number"] for row in rows] == [0, 1, 2, 3]
    assert len({tuple(row) for row in rows}) == 1
    assert (rows[0]["params_y"], rows[0]["failure"]) == (None, "ValueError: no such file")
    assert (rows[2]["model"], rows[2]["cost"], rows[2]["repairs"]) == (None, None, None)
    assert (rows[3]["state"], rows[3]["value"]) == ("RUNNING", None)


@pytest.mark.parametrize("record", [7, "text", [], {"usage": 3, "repairs": "x", "calls": "many", "latency": -1}])
def test_what_others_wrote_is_passed_over(record: Any) -> None:
    study = optuna.create_study()
    add(study, TrialState.COMPLETE, 1.0, llm=record, failure=record)
    (row,) = rows_of(study)
    assert (row["value"], row["cost"], row["latency"], row["failure"]) == (1.0, None, None, None)


def test_a_data_frame_has_a_row_for_each_trial(study: optuna.Study) -> None:
    frame = to_dataframe(study)
    assert len(frame) == 4
    assert list(frame.columns[:6]) == ["number", "state", "value", "infeasible", "params_x", "params_y"]
    assert frame.set_index("number").loc[1, "tokens"] == 100
    assert to_dataframe(optuna.create_study()).empty


def test_without_pandas_the_error_says_how_to_get_it(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == "pandas":
            raise builtins.ModuleNotFoundError("No module named 'pandas'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match="pip install pandas"):
        to_dataframe(study)
