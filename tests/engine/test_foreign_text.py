"""What comes from outside brings no escapes, line breaks or secrets of its own."""

import logging
from datetime import UTC, datetime
from typing import Any

import anyio
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from support import optimize_with, sampler

from optuna_llm import AsyncTrial, FunctionClient, LLMGuidedSampler, OptunaLLMError, TransientError
from optuna_llm.engine.foreign_text import MARGIN, MESSAGE_LENGTH, said, summary, traceback_of
from optuna_llm.engine.outcome import completed, failed
from optuna_llm.samplers.client.litellm_errors import facts_of, translate

HOSTILE = {
    "a line break": "no\nINFO:root:all is well",
    "a carriage return": "no\rall is well",
    "a line separator": "no\u2028all is\x85well",
    "colours": "\x1b[31mno\x1b[0m",
    "a title": "\x1b]0;all is well\x07no",
    "an 8-bit escape": "no \x9b2J",
    "right to left": "no \u202ellew si lla",
    "half a character": "no \udc80",
    "nothing at all": "no\x00\x08\x08ok",
}
SPACE = {"x": FloatDistribution(0, 1)}

hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


@hostile
def test_foreign_text_stays_on_its_line(text: str) -> None:
    assert said(text).isprintable()
    assert summary(ValueError(text)).isprintable()
    assert "no" in said(text)


@pytest.mark.parametrize(
    "text", ["\x1b[1mpassword\x1b[0m=hunter2", "token\x1b[K: \x1b[31mhunter2", "\x1b]0;t\x07key: \x1b(Bok"]
)
def test_colours_hide_no_secret_and_leave_nothing(text: str) -> None:
    assert "hunter2" not in said(text)
    assert "[0m" not in said(text)
    assert "hunter2" not in traceback_of(ValueError(text), 500)


def test_an_error_without_a_message_is_its_type() -> None:
    assert summary(KeyError()) == "KeyError"
    assert summary(OSError("gone")) == "OSError: gone"


@hostile
def test_the_record_of_a_failure_is_printable(text: str) -> None:
    failure = failed(ValueError(text)).failure
    assert failure is not None
    assert failure.message.isprintable()
    assert failure.traceback.replace("\n", "").isprintable()


@given(st.text(), st.integers(10, 50))
def test_any_text_is_printable_and_short(text: str, length: int) -> None:
    assert said(text, length).isprintable()
    assert len(said(text, length)) <= length


@pytest.mark.parametrize("n_before", range(MESSAGE_LENGTH - 45, MESSAGE_LENGTH + 5, 3))
def test_no_part_of_a_secret_is_left_where_text_is_cut(n_before: int) -> None:
    text = "x" * n_before + " postgresql://anna:hunter2hunter2@db/x"
    assert "hunt" not in said(text)


@pytest.mark.parametrize("n_after", [0, 30, 300])
def test_no_part_of_a_secret_is_left_where_a_traceback_begins(n_after: int) -> None:
    error = ValueError("postgresql://anna:hunter2hunter2@db/x" + "\n" * n_after)
    for length in range(20, 60):
        assert "ter2" not in traceback_of(error, length)


def test_of_a_message_without_end_only_the_beginning_is_looked_at() -> None:
    endless = "ACGT-" * MARGIN * 100
    failure = failed(ValueError(endless)).failure
    assert failure is not None
    assert len(failure.message) <= MESSAGE_LENGTH


def test_a_value_that_is_no_number_is_quoted_without_secrets() -> None:
    failure = completed({"password": "hunter2", "x": "\x1b[2J"}).failure
    assert failure is not None
    assert "hunter2" not in failure.message
    assert failure.message.isprintable()


@hostile
def test_a_providers_message_is_quoted_on_one_line(text: str) -> None:
    error = translate(
        facts_of(RuntimeError(f"{text} at https://anna:hunter2@host/")), model="a/b", now=datetime.now(UTC)
    )
    assert str(error).isprintable()
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("n_before", range(240, 320, 8))
def test_no_part_of_a_key_is_left_where_a_providers_message_is_cut(n_before: int) -> None:
    error = translate(
        facts_of(RuntimeError("x" * n_before + " my-own-key-of-no-shape")),
        model="a/b",
        secrets=["my-own-key-of-no-shape"],
    )
    assert "my-own" not in str(error)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records] + [record.exc_text or "" for record in caplog.records]


@hostile
def test_a_failed_objective_writes_lines_of_ours_alone(text: str, caplog: pytest.LogCaptureFixture) -> None:
    async def objective(trial: AsyncTrial) -> float:
        raise ValueError(f"{text}, token=hunter2")

    study = optuna.create_study(sampler=sampler())
    with caplog.at_level(logging.INFO, "optuna_llm"):
        anyio.run(lambda: optimize_with()(study, objective, n_trials=1, search_space=SPACE, catch=ValueError))
    assert any("failed" in line for line in lines_of(caplog))
    for line in lines_of(caplog):
        assert line.isprintable()
        assert "hunter2" not in line


@hostile
def test_a_storage_and_a_model_that_fail_write_lines_of_ours_alone(
    text: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def model(request: Any) -> Any:
        asked.append(request)
        if len(asked) == 2:
            raise TransientError(f"{text}, token=hunter2")
        return {"rationale": "", "x": len(asked) / 10}

    async def objective(trial: AsyncTrial) -> float:
        return 1.0

    study = optuna.create_study(sampler=LLMGuidedSampler(FunctionClient(model), max_reasks=0))
    create, calls = study._storage.create_new_trial, []

    def fails_once(*args: Any, **more: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise OSError(f"{text} password=hunter2")
        return create(*args, **more)

    monkeypatch.setattr(study._storage, "create_new_trial", fails_once)
    monkeypatch.setattr("optuna_llm.samplers.limits.retrying_client.BASE_SECONDS", 0.001)
    with caplog.at_level(logging.INFO, "optuna_llm"):
        anyio.run(lambda: optimize_with(first_pause=0.001)(study, objective, n_trials=2, search_space=SPACE))
    assert any("storage failed" in line for line in lines_of(caplog))
    for line in lines_of(caplog):
        assert line.isprintable()
        assert "hunter2" not in line


@hostile
def test_a_storage_that_is_given_up_is_quoted_on_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def objective(trial: AsyncTrial) -> float:
        return 1.0

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(f"{text} password=hunter2")

    study = optuna.create_study(sampler=sampler())
    monkeypatch.setattr(study._storage, "create_new_trial", fails)
    policy = {"first_pause": 0.001, "seconds": 0.01}
    with pytest.raises(OptunaLLMError) as caught:
        anyio.run(lambda: optimize_with(**policy)(study, objective, n_trials=1, search_space=SPACE))
    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)
