"""Keys go to the request that they are for, and nowhere else."""

import contextlib
import copy
import logging
import pickle
import platform
import threading
import traceback
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from fault_server import FaultServer, Received, Scripted, completion, failure
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE

from optuna_llm import (
    AuthenticationError,
    ClientError,
    DeadlineExceededError,
    LiteLLMClient,
    LLMGuidedSampler,
    OptunaLLMError,
    Request,
    UsageError,
    optimize_async,
)
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.secret import Secret
from optuna_llm.samplers.recording.recording_client import RecordingClient

KEY = "sk-verysecret0123456789abcdefghij"
REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object", "properties": {}})


pytestmark = pytest.mark.usefixtures("real_litellm")


def give_key() -> str:
    return KEY


@pytest.mark.parametrize("value", [KEY, give_key, lambda: KEY])
def test_a_secret_shows_itself_only_when_it_is_asked_to(value: Any) -> None:
    secret = Secret(value)
    assert secret.reveal() == KEY
    assert KEY not in f"{secret} {secret!r}"
    assert KEY.encode() not in pickle.dumps(secret)


def test_a_copy_has_no_key_but_keeps_a_function_that_travels() -> None:
    assert copy.deepcopy(Secret(KEY)).reveal() is None
    assert pickle.loads(pickle.dumps(Secret(lambda: KEY))).reveal() is None
    assert copy.copy(Secret(platform.python_version)).reveal() == platform.python_version()


def test_a_key_that_a_server_repeats_in_a_reply_is_not_in_the_error() -> None:
    error = {"code": 400, "message": "nothing for a key such as plain-words-of-ours here"}
    reply = completion("", finish_reason="error", error=error)
    with FaultServer(reply) as server:
        client = LiteLLMClient("openai/some", api_base=server.url, api_key="plain-words-of-ours", timeout=10)
        with pytest.raises(ClientError, match="nothing for a key such as") as caught:
            run_sync(lambda: client.complete(REQUEST))
    assert "plain-words-of-ours" not in str(caught.value)


@pytest.mark.parametrize("function", [lambda: None, lambda: 1 / 0, lambda: b"k"])
def test_a_function_that_gives_no_key_is_an_authentication_error(function: Any) -> None:
    with pytest.raises(AuthenticationError, match="api_key"):
        Secret(function).reveal()


@pytest.mark.parametrize("wrong", [b"key", 5])
def test_a_key_of_another_type_is_refused_at_construction_without_being_shown(wrong: Any) -> None:
    with pytest.raises(UsageError, match="api_key must be a str") as caught:
        LiteLLMClient("openai/x", api_key=wrong)
    assert str(wrong) not in str(caught.value)


def test_the_error_of_a_key_function_keeps_nothing_of_what_it_raised() -> None:
    def fails() -> str:
        raise ValueError(KEY)

    with pytest.raises(AuthenticationError, match="raised ValueError") as caught:
        run_sync(lambda: LiteLLMClient("openai/x", api_key=fails).complete(REQUEST))
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_slow_key_function_holds_no_loop_and_counts_towards_the_timeout() -> None:
    release = threading.Event()

    def waits() -> str:
        assert release.wait(10)
        return KEY

    async def ask() -> None:
        try:
            await LiteLLMClient("openai/x", api_key=waits, timeout=0.05).complete(REQUEST)
        finally:
            release.set()

    with pytest.raises(DeadlineExceededError):
        run_sync(ask)


def sent_headers(model: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "OPENROUTER", "HOSTED_VLLM", "LM_STUDIO"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    with FaultServer(completion()) as server:
        base = server.url if model.startswith(("openai", "openrouter", "hosted", "lm_")) else server.url[:-3]
        with contextlib.suppress(OptunaLLMError):  # the answer is OpenAI's, whatever was asked
            run_sync(lambda: LiteLLMClient(model, api_base=base, timeout=10, **options).complete(REQUEST))
        assert server.received
        return f"{server.received[0].path} {server.received[0].headers}"


MODELS = ["openai/x", "anthropic/claude-3-5-haiku-latest", "gemini/gemini-2.0-flash", "openrouter/a/b", "hosted_vllm/x"]


@pytest.mark.parametrize("model", [*MODELS, "lm_studio/x", "ollama_chat/x"])
def test_the_environments_key_is_not_sent_to_a_custom_server(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in sent_headers(model, monkeypatch)


@pytest.mark.parametrize("model", MODELS)
def test_a_key_that_was_passed_is_sent_to_a_custom_server(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY in sent_headers(model, monkeypatch, api_key=lambda: KEY)


@pytest.mark.parametrize("name", ["api_base", "base_url"])
def test_a_server_named_in_extra_is_a_custom_server_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultServer(completion()) as server:
        client = LiteLLMClient("openai/x", timeout=10, extra={name: server.url})
        run_sync(lambda: client.complete(REQUEST))
        assert KEY not in str(server.received[0].headers)


def test_an_empty_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in sent_headers("openai/x", monkeypatch, api_key="")


def test_a_custom_server_that_wants_a_key_says_why_it_got_none() -> None:
    with FaultServer(failure(401, "no key")) as server, pytest.raises(AuthenticationError, match="pass api_key="):
        run_sync(lambda: LiteLLMClient("openai/x", api_base=server.url).complete(REQUEST))


class Echo(FaultServer):
    """Fails with everything that it was sent in its message, then answers."""

    def answer(self, request: Received) -> Scripted:
        if len(self.received) < 2:
            return failure(500, f"cannot serve {request.headers}")
        if len(self.received) > 4:
            return failure(401, f"bad key {request.headers.get('authorization')}")
        return completion('{"rationale": "r", "lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}')


def test_no_artefact_of_a_run_holds_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna_llm.samplers.limits.retrying_client.BASE_SECONDS", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    log = tmp_path / "debug.log"
    handler = logging.FileHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    errors = []
    try:
        with Echo() as server:
            client = LiteLLMClient("openai/gpt-4o-mini", api_base=server.url, api_key=KEY, timeout=10)
            recording = RecordingClient(client, tmp_path / "run.jsonl")
            storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
            sampler = LLMGuidedSampler(recording, task="t", max_reasks=0)
            study = optuna.create_study(storage=storage, sampler=sampler)

            async def objective(trial: Any) -> float:
                raise ValueError(f"refused with {KEY}")

            try:
                anyio.run(
                    lambda: optimize_async(
                        study, objective, n_trials=9, n_workers=1, search_space=SPACE, catch=ValueError, patience=0
                    )
                )
            except OptunaLLMError as error:
                errors.append(error)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()
    assert len(study.trials) >= 1
    assert errors
    artefacts = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"debug.log", "run.jsonl", "journal.log"} <= artefacts.keys()
    artefacts["traceback"] = "".join(traceback.format_exception(errors[0])).encode()
    artefacts["repr"] = repr((client, recording, sampler, sampler._stack, errors)).encode()
    artefacts["pickle"] = pickle.dumps((client, recording, sampler))
    artefacts["prompts"] = str([received.body for received in server.received]).encode()
    assert all(artefacts.values())
    assert [name for name, content in artefacts.items() if KEY.encode() in content] == []
