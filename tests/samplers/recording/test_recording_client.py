"""What a recording holds, in which order, and what happens when it cannot be written."""

import asyncio
import copy
import json
import math
import multiprocessing
import os
import pickle
import re
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optuna_llm import (
    Client,
    ClientError,
    FunctionClient,
    LiteLLMClient,
    Reply,
    Request,
    ThrottledError,
    Usage,
    UsageError,
)
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.recording.recording_client import HEADER, RecordingClient

SECRET = "sk-proj-abcdefghijklmnop1234"


def ask(text: str = "hi", **fields: Any) -> Request:
    return Request(messages=[{"role": "user", "content": text}], schema={"type": "object"}, **fields)


def fixed(request: Request) -> str:
    return "{}"


async def made(path: Path, fn: Callable[[Request], Any] = fixed) -> RecordingClient:
    """A client made off the loop, because it looks at the file system."""
    return await asyncio.to_thread(RecordingClient, FunctionClient(fn), path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def events(path: Path) -> list[tuple[str, int]]:
    return [(line["event"], line["id"]) for line in lines(path)[1:]]


class Held:
    """A model that answers a text when it is let go."""

    def __init__(self, *texts: str) -> None:
        self.asked = {text: asyncio.Event() for text in texts}
        self.let_go = {text: asyncio.Event() for text in texts}

    async def __call__(self, request: Request) -> str:
        text = request.messages[0]["content"]
        self.asked[text].set()
        await self.let_go[text].wait()
        return text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@pytest.mark.asyncio
async def test_an_exchange_is_on_file_with_all_its_fields_when_its_caller_has_it(path: Path) -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1, cost=0.5)
    reply = Reply(text="é\u2028", model="m", finish_reason="stop", usage=usage, latency=0.5, quota={"left": "3"})
    client = await made(path, lambda request: reply)
    assert await client.complete(ask("ü", seed=3, max_tokens=9, metadata={"role": "propose"})) is reply
    asked = {
        "messages": [{"role": "user", "content": "ü"}],
        "schema": {"type": "object"},
        "max_tokens": 9,
        "seed": 3,
        "metadata": {"role": "propose"},
    }
    answered = {
        "text": "é\u2028",
        "model": "m",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1, "written_tokens": 0, "cost": 0.5},
        "latency": 0.5,
        "quota": {"left": "3"},
    }
    assert lines(path) == [
        HEADER,
        {"event": "request", "id": 1, "request": asked},
        {"event": "reply", "id": 1, "reply": answered},
    ]
    await client.aclose()


@pytest.mark.asyncio
async def test_of_metadata_only_json_scalars_are_kept(path: Path) -> None:
    client = await made(path)
    await client.complete(ask(metadata={"a": 1, "b": None, "c": True, "d": object(), "e": [1], "f": asyncio.Lock()}))
    assert lines(path)[1]["request"]["metadata"] == {"a": 1, "b": None, "c": True}
    await client.aclose()


@pytest.mark.asyncio
async def test_a_key_never_reaches_the_file_and_the_caller_sees_everything(path: Path) -> None:
    client = await made(path, lambda request: Reply(text=f'{{"key": "{SECRET}"}}', quota={"account": SECRET}))
    reply = await client.complete(ask(f"use {SECRET}", metadata={"key": SECRET}))
    assert SECRET in reply.text
    assert "sk-proj" not in json.dumps(lines(path))
    assert json.dumps(lines(path)).count("[removed]") == 4
    assert json.loads(lines(path)[2]["reply"]["text"]) == {"key": "[removed]"}
    await client.aclose()


@pytest.mark.asyncio
async def test_a_key_in_an_error_never_reaches_the_file(path: Path) -> None:
    def fail(request: Request) -> str:
        raise ThrottledError(f"slow down, {SECRET}", retry_after=2.0, status=429, code="rate")

    client = await made(path, fail)
    with pytest.raises(ThrottledError, match=SECRET):
        await client.complete(ask())
    expected = {"type": "ThrottledError", "message": "slow down, [removed]"}
    details = {"retry_after": 2.0, "status": 429, "code": "rate"}
    assert lines(path)[2] == {"event": "error", "id": 1, "error": expected | details}
    await client.aclose()


@pytest.mark.asyncio
async def test_events_stand_in_the_order_in_which_they_happened(path: Path) -> None:
    model = Held("a", "b", "c")
    client = await made(path, model)
    async with asyncio.TaskGroup() as group:
        calls = {text: group.create_task(client.complete(ask(text))) for text in "ab"}
        await asyncio.gather(*(model.asked[text].wait() for text in "ab"))
        model.let_go["b"].set()
        await calls["b"]
        calls["c"] = group.create_task(client.complete(ask("c")))
        await model.asked["c"].wait()
        for text in "ac":
            model.let_go[text].set()
            await calls[text]
    expected = [("request", 1), ("request", 2), ("reply", 2), ("request", 3), ("reply", 1), ("reply", 3)]
    assert events(path) == expected
    await client.aclose()


@pytest.mark.asyncio
async def test_a_hundred_requests_at_once_are_all_written(path: Path) -> None:
    client = await made(path)
    await asyncio.gather(*(client.complete(ask(str(number))) for number in range(100)))
    await client.aclose()
    found = events(path)
    assert sorted(id_ for event, id_ in found if event == "request") == list(range(1, 101))
    assert [line["request"]["messages"][0]["content"] for line in lines(path)[1:] if line["event"] == "request"] == [
        str(number) for number in range(100)
    ]
    assert all(found.index(("request", id_)) < found.index(("reply", id_)) for id_ in range(1, 101))


@pytest.mark.asyncio
async def test_a_cancelled_request_is_recorded_and_stays_cancelled(path: Path) -> None:
    model = Held("a")
    client = await made(path, model)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.complete(ask("a")))
        await model.asked["a"].wait()
        call.cancel()
    assert call.cancelled()
    await client.aclose()
    assert events(path) == [("request", 1), ("cancelled", 1)]


@pytest.mark.asyncio
async def test_a_request_cancelled_before_it_is_written_is_recorded_too(path: Path) -> None:
    asked: list[Request] = []

    def model(request: Request) -> str:
        asked.append(request)
        return "{}"

    client = await made(path, model)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.complete(ask()))
        await asyncio.sleep(0)
        call.cancel()
    await client.aclose()
    assert events(path) == [("request", 1), ("cancelled", 1)]
    assert not asked


@pytest.mark.asyncio
async def test_an_exception_that_is_no_client_error_passes_and_is_recorded_by_class_and_message(path: Path) -> None:
    error = LookupError("mine")

    def fail(request: Request) -> str:
        raise error

    client = await made(path, fail)
    with pytest.raises(LookupError) as caught:
        await client.complete(ask())
    assert caught.value is error
    assert lines(path)[2] == {"event": "error", "id": 1, "error": {"type": "LookupError", "message": "mine"}}
    await client.aclose()


def test_a_file_that_holds_something_is_refused_and_stays_as_it_is(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"exists and a recording is never added to: record into a new file"):
        RecordingClient(FunctionClient(fixed), path)
    assert path.read_text() == "precious"


def test_an_empty_file_is_taken_and_nothing_is_made_before_the_first_request(path: Path) -> None:
    RecordingClient(FunctionClient(fixed), path)
    assert not path.exists()
    path.touch()
    client = RecordingClient(FunctionClient(fixed), str(path))
    asyncio.run(complete_and_close(client))
    assert events(path) == [("request", 1), ("reply", 1)]


async def complete_and_close(client: Client) -> None:
    await client.complete(ask())
    await client.aclose()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        RecordingClient(FunctionClient(fixed), tmp_path / "missing" / "run.jsonl")
    with pytest.raises(UsageError, match="exists"):
        RecordingClient(FunctionClient(fixed), tmp_path)


@pytest.mark.parametrize("client", ["gpt", FunctionClient, None])
def test_only_a_client_is_wrapped(path: Path, client: Any) -> None:
    with pytest.raises(UsageError, match="model"):
        RecordingClient(client, path)


def test_a_model_string_stands_for_its_client(path: Path) -> None:
    client = RecordingClient("openai/gpt-5.4-mini", path)
    assert isinstance(client.client, LiteLLMClient)
    assert client.capabilities.model == "openai/gpt-5.4-mini"


@pytest.mark.asyncio
async def test_a_request_that_cannot_be_written_is_not_sent(tmp_path: Path) -> None:
    asked: list[Request] = []
    folder = tmp_path / "folder"
    folder.mkdir()

    def model(request: Request) -> str:
        asked.append(request)
        return "{}"

    client = await made(folder / "run.jsonl", model)
    folder.rmdir()
    for _ in range(2):
        with pytest.raises(UsageError, match="there is no folder"):
            await client.complete(ask())
    assert not asked
    with pytest.raises(UsageError):
        await client.aclose()


@pytest.mark.asyncio
async def test_a_reply_that_cannot_be_written_is_an_error_and_so_is_every_later_request(path: Path) -> None:
    asked: list[Request] = []

    async def model(request: Request) -> str:
        asked.append(request)
        await asyncio.to_thread(path.unlink)
        await asyncio.to_thread(path.mkdir)
        return "{}"

    client = await made(path, model)
    for _ in range(2):
        with pytest.raises(ClientError, match=r"run\.jsonl' could not be written \(IsADirectoryError.*into a new file"):
            await client.complete(ask())
    assert len(asked) == 1
    with pytest.raises(ClientError, match="could not be written"):
        await client.aclose()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").symlink_to("/dev/full")
    client = RecordingClient(FunctionClient(fixed), tmp_path / "run.jsonl")
    with pytest.raises(ClientError, match="No space left on device"):
        asyncio.run(client.complete(ask()))


@pytest.mark.parametrize("room", [0, 1, 60, 200, 400])
def test_what_a_full_disk_cut_off_is_not_left_in_the_file(path: Path, room: int) -> None:
    """A limit of the process takes the place of the disk."""
    client = RecordingClient(FunctionClient(fixed), path)

    async def fill() -> None:
        for _ in range(9):
            await client.complete(ask())

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        with pytest.raises(ClientError, match="could not be written"):
            asyncio.run(fill())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists() or (events(path) and path.read_bytes().endswith(b"\n"))


@pytest.mark.asyncio
async def test_a_request_that_is_no_json_is_a_usage_error(path: Path) -> None:
    client = await made(path)
    with pytest.raises(UsageError, match=r"only requests and replies of JSON values.*complex"):
        await client.complete(Request(messages=[], schema={"x": 1j}))


@pytest.mark.asyncio
async def test_odd_texts_and_numbers_are_kept(path: Path) -> None:
    client = await made(path, lambda request: {"x": math.nan, "text": "\ud800\n"})
    reply = await client.complete(ask("\udfff\r\n"))
    assert lines(path)[2]["reply"]["text"] == reply.text
    assert lines(path)[1]["request"]["messages"][0]["content"] == "\udfff\r\n"
    await client.aclose()


def test_one_client_serves_several_loops_and_goes_on_after_it_was_closed(path: Path) -> None:
    client = RecordingClient(FunctionClient(fixed), path)
    for _ in range(2):
        asyncio.run(complete_and_close(client))
    asyncio.run(client.complete(ask()))
    assert events(path) == [(event, id_) for id_ in (1, 2, 3) for event in ("request", "reply")]
    asyncio.run(client.aclose())


def test_closing_closes_the_client_inside(path: Path) -> None:
    class Inside(FunctionClient):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    inside = Inside(fixed)
    asyncio.run(RecordingClient(inside, path).aclose())
    assert inside.closed


@pytest.mark.parametrize("duplicate", [lambda client: pickle.loads(pickle.dumps(client)), copy.deepcopy])
def test_a_copy_does_not_write_into_a_recording_that_has_begun(path: Path, duplicate: Any) -> None:
    client = RecordingClient(FunctionClient(fixed), path)
    asyncio.run(complete_and_close(client))
    before = path.read_bytes()
    twin = duplicate(client)
    assert repr(twin) == repr(client) == "RecordingClient(FunctionClient(fixed), 'run.jsonl')"
    assert isinstance(twin, Client)
    with pytest.raises(UsageError, match="exists and a recording is never added to"):
        asyncio.run(twin.complete(ask()))
    assert path.read_bytes() == before


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_does_not_write_into_the_recording(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = RecordingClient(FunctionClient(fixed), path)
    asyncio.run(complete_and_close(client))
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    with pytest.raises(UsageError, match="belongs to another process"):
        asyncio.run(client.complete(ask()))


@pytest.mark.parametrize("existing", [None, 0o644, 0o666, 0o600], ids=str)
def test_only_its_owner_can_read_a_recording(path: Path, existing: int | None) -> None:
    before = os.umask(0)
    try:
        if existing is not None:
            path.touch()
            path.chmod(existing)
        client = RecordingClient(FunctionClient(fixed), path)
        run_sync(lambda: client.complete(ask("a")))
        run_sync(lambda: client.complete(ask("b")))
        run_sync(client.aclose)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(events(path)) == 4


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["cls_token", "auth", "password", "api_key_rotation"])
async def test_a_choice_is_recorded_whatever_its_parameter_is_called(path: Path, name: str) -> None:
    text = json.dumps({name: "mean-pooling", "rationale": f"{name}: mean-pooling, not {SECRET}"})
    client = await made(path, lambda request: text)
    await client.complete(ask())
    await client.aclose()
    recorded = json.loads(lines(path)[-1]["reply"]["text"])
    assert recorded[name] == "mean-pooling"
    assert SECRET not in str(lines(path))


@pytest.mark.asyncio
@pytest.mark.parametrize("said", ["password=hunter2", '{"token": "abc"}', "Authorization: Basic dXNlcjpodW50ZXIy"])
async def test_requests_and_errors_are_recorded_without_secrets(path: Path, said: str) -> None:
    def fails(request: Request) -> str:
        raise ThrottledError(said)

    client = await made(path, fails)
    with pytest.raises(ThrottledError, match=re.escape(said)):
        await client.complete(ask(said))
    await client.aclose()
    text = str(lines(path))
    assert not any(secret in text for secret in ("hunter2", "abc", "dXNlcjpodW50ZXIy"))
    assert text.count("[removed]") == 2
