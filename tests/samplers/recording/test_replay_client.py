"""A recording, replayed: the same study without a model, and a clear error where the run is another one."""

import asyncio
import json
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from support import SPACE, answer

from optuna_llm import (
    AsyncTrial,
    AuthenticationError,
    Client,
    ClientError,
    DeadlineExceededError,
    FunctionClient,
    LLMGuidedSampler,
    ModelNotFoundError,
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    Usage,
    UsageError,
    optimize_async,
)
from optuna_llm.samplers.recording.recording_client import HEADER, RecordingClient
from optuna_llm.samplers.recording.replay_client import ReplayClient

TRIALS = 24
WORKERS = 4


def answering(seed: int = 0) -> Callable[[Request], dict[str, Any]]:
    """A model that answers at random."""
    rng = random.Random(seed)
    return lambda request: answer(request.schema, rng)


async def score(trial: AsyncTrial) -> float:
    return float(trial.params["momentum"] + trial.params["lr"])


async def other_score(trial: AsyncTrial) -> float:
    return 3.0 if trial.number == 7 else await score(trial)


def optimized(client: Client, task: str = "Tune a network.", objective: Any = score) -> optuna.Study:
    study = optuna.create_study(sampler=LLMGuidedSampler(client, task=task))

    async def run() -> None:
        await optimize_async(study, objective, n_trials=TRIALS, search_space=SPACE)

    anyio.run(run)
    return study


def told(study: optuna.Study) -> list[tuple[int, dict[str, Any], float | None, Any]]:
    return [(t.number, t.params, t.value, t.user_attrs["llm"]["rationale"]) for t in study.trials]


def ask(text: str = "hi", **fields: Any) -> Request:
    return Request(messages=[{"role": "user", "content": text}], schema={"type": "object"}, **fields)


def request(id_: int, text: str = "hi") -> dict[str, Any]:
    asked = ask(text)
    fields = {"messages": asked.messages, "schema": asked.schema, "max_tokens": 1024, "seed": None, "metadata": {}}
    return {"event": "request", "id": id_, "request": fields}


def reply(id_: int, text: str) -> dict[str, Any]:
    return {"event": "reply", "id": id_, "reply": {"text": text}}


def written(path: Path, *events: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in (HEADER, *events)), encoding="utf-8")
    return path


async def replaying(folder: Path, *events: dict[str, Any]) -> ReplayClient:
    """A client for these events, made off the loop because it reads a file."""
    return await asyncio.to_thread(lambda: ReplayClient(written(folder / "given.jsonl", *events)))


async def settled() -> None:
    """Let every task on the loop go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_run_of_one_worker_replays_to_the_same_study(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = told(optimized(RecordingClient(FunctionClient(answering()), path)))
    assert told(optimized(ReplayClient(path))) == first
    assert len(first) == TRIALS


@pytest.mark.asyncio
async def test_requests_that_come_in_another_order_get_the_same_replies(tmp_path: Path) -> None:
    texts = [str(number) for number in range(WORKERS)]
    replies = (reply(id_, f"to {text}") for id_, text in reversed([*enumerate(texts)]))
    client = await replaying(tmp_path, *(request(id_, text) for id_, text in enumerate(texts)), *replies)
    given = await asyncio.gather(*(client.complete(ask(text)) for text in reversed(texts)))
    assert [one.text for one in given] == [f"to {text}" for text in reversed(texts)]


@pytest.mark.asyncio
async def test_a_recording_that_says_when_replies_were_returned_is_read(tmp_path: Path) -> None:
    events = (request(1, "a"), reply(1, "one"), request(2, "b"), {"event": "returned", "id": 1}, reply(2, "two"))
    client = await replaying(tmp_path, *events)
    assert [(await client.complete(ask(text))).text for text in "ab"] == ["one", "two"]


@pytest.mark.asyncio
async def test_identical_requests_get_their_replies_in_recorded_order(tmp_path: Path) -> None:
    events = (request(1), request(2), reply(2, "two"), reply(1, "one"), request(3), reply(3, "three"))
    client = await replaying(tmp_path, *events)
    pair = await asyncio.gather(client.complete(ask()), client.complete(ask()))
    assert [given.text for given in (*pair, await client.complete(ask()))] == ["one", "two", "three"]


@pytest.mark.asyncio
async def test_metadata_does_not_matter_and_every_field_of_the_reply_comes_back(tmp_path: Path) -> None:
    whole = Reply(
        text="{}",
        model="m",
        finish_reason="stop",
        usage=Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1, written_tokens=2, cost=0.5),
        latency=1.5,
        quota={"x-ratelimit-remaining": "3"},
    )
    path = tmp_path / "run.jsonl"
    recorder = await asyncio.to_thread(RecordingClient, FunctionClient(lambda _: whole), path)
    await recorder.complete(ask(metadata={"role": "propose"}, prefix_ends=(1,)))
    await recorder.aclose()
    client = await asyncio.to_thread(ReplayClient, path)
    assert await client.complete(ask(metadata={"role": "other"})) == whole


@pytest.mark.asyncio
async def test_a_recording_from_before_tokens_were_counted_as_written_is_read(tmp_path: Path) -> None:
    event = reply(1, "one")
    event["reply"]["usage"] = {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1, "cost": None}
    client = await replaying(tmp_path, request(1), event)
    assert (await client.complete(ask(prefix_ends=(1,)))).usage == Usage(
        prompt_tokens=3, completion_tokens=2, cached_tokens=1
    )


def test_another_task_text_fails_loudly_with_the_nearest_request_and_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    optimized(RecordingClient(FunctionClient(answering()), path))
    with pytest.raises(ClientError) as caught:
        optimized(ReplayClient(path), task="Tune a netball team.")
    assert "run.jsonl holds no unused request like this one" in str(caught.value)
    assert re.search(
        r"the nearest is request 1: recorded .*Tune a network.*, asked .*Tune a netball", str(caught.value)
    )


def test_another_objective_fails_loudly_in_the_middle_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    optimized(RecordingClient(FunctionClient(answering()), path))
    with pytest.raises(ClientError, match=r"the nearest is request \d+: recorded .*, asked "):
        optimized(ReplayClient(path), objective=other_score)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        (ask("same\nold line"), ("request 2: recorded", "same\\\\nline", "same\\\\nold line")),
        (ask("same\nline", max_tokens=5), ("request 2: recorded", '"max_tokens": 1024', '"max_tokens": 5')),
        (ask("same\nline", seed=5), ('"seed": null', '"seed": 5')),
        (Request(messages=[], schema={"type": "object"}), ('"messages": [{"content"', '"messages": []')),
        (Request(messages=ask("same\nline").messages, schema={"a": 1}), ('"schema": {"type"', '"schema": {"a"')),
        (ask("same\nline and" + 100 * " more"), ("line and more more",)),
        (ask("same"), ("same\\\\nline",)),
    ],
)
async def test_a_request_that_was_not_recorded_is_refused_at_once(
    tmp_path: Path, asked: Request, difference: tuple[str, ...]
) -> None:
    client = await replaying(tmp_path, request(1, "other"), request(2, "same\nline"), reply(1, "1"), reply(2, "2"))
    with pytest.raises(ClientError) as caught:
        await client.complete(asked)
    assert [words for words in difference if words not in str(caught.value)] == []
    assert len(str(caught.value)) < 400


@pytest.mark.asyncio
async def test_a_run_that_asks_on_after_the_end_is_told_so(tmp_path: Path) -> None:
    client = await replaying(tmp_path, request(1), reply(1, "one"))
    await client.complete(ask())
    with pytest.raises(ClientError, match=r"given.jsonl has no unused request, of 1"):
        await client.complete(ask())


@pytest.mark.asyncio
async def test_one_request_too_many_of_a_kind_is_told_from_an_unknown_one(tmp_path: Path) -> None:
    client = await replaying(tmp_path, request(1), reply(1, "one"), request(2, "hit"), reply(2, "two"))
    await client.complete(ask())
    with pytest.raises(ClientError, match="no unused request like this one; the nearest is request 2"):
        await client.complete(ask())


ERRORS = [
    ClientError("plain", status=400),
    AuthenticationError("key", status=401, code="invalid_api_key"),
    ModelNotFoundError("model", status=404),
    QuotaExceededError("quota", code="insufficient_quota"),
    ThrottledError("slow down", retry_after=2.5, status=429),
    TransientError("down", status=503),
    DeadlineExceededError("late"),
]


class OwnError(ThrottledError):
    """A user's own kind."""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        *((error, type(error), str(error)) for error in ERRORS),
        (OwnError("mine", retry_after=1.0), ThrottledError, "mine"),
        (LookupError("no row"), ClientError, "the recorded client raised LookupError: no row"),
        (ValueError("bad"), ClientError, "the recorded client raised ValueError: bad"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_a_recorded_error_is_raised_again(
    tmp_path: Path, error: Exception, kind: type[ClientError], message: str
) -> None:
    def fail(request: Request) -> str:
        raise error

    path = tmp_path / "run.jsonl"
    recorder = await asyncio.to_thread(RecordingClient, FunctionClient(fail), path)
    with pytest.raises(type(error)) as original:
        await recorder.complete(ask())
    assert original.value is error
    await recorder.aclose()
    client = await asyncio.to_thread(ReplayClient, path)
    with pytest.raises(ClientError) as caught:
        await client.complete(ask())
    assert type(caught.value) is kind
    assert str(caught.value) == message
    for name in ("retry_after", "status", "code"):
        assert getattr(caught.value, name) == getattr(error, name, None)


@pytest.mark.asyncio
async def test_a_request_cancelled_in_the_recording_waits_to_be_cancelled_and_holds_nothing_up(tmp_path: Path) -> None:
    events = (request(1, "a"), request(2, "b"), {"event": "cancelled", "id": 1}, reply(2, "two"))
    client = await replaying(tmp_path, *events)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(client.complete(ask("a")))
        await settled()
        assert (await client.complete(ask("b"))).text == "two"
        assert not waiting.done()
        waiting.cancel()
    assert waiting.cancelled()
    with pytest.raises(ClientError, match="no unused request, of 2"):
        await client.complete(ask("a"))


@pytest.mark.asyncio
async def test_a_request_that_the_recording_does_not_follow_to_its_end_fails_after_the_others(tmp_path: Path) -> None:
    client = await replaying(tmp_path, request(1, "a"), request(2, "b"), reply(2, "two"))
    lost, given = await asyncio.gather(client.complete(ask("a")), client.complete(ask("b")), return_exceptions=True)
    assert isinstance(given, Reply)
    assert isinstance(lost, ClientError)
    assert "the recording ends before the reply to 1" in str(lost)


def test_one_client_serves_several_loops_one_after_the_other(tmp_path: Path) -> None:
    client = ReplayClient(written(tmp_path / "r.jsonl", request(1), reply(1, "one"), request(2), reply(2, "two")))
    assert [asyncio.run(client.complete(ask())).text for _ in range(2)] == ["one", "two"]


def test_a_copy_starts_from_the_beginning(tmp_path: Path) -> None:
    client = ReplayClient(written(tmp_path / "r.jsonl", request(1), reply(1, "one")))
    asyncio.run(client.complete(ask()))
    copy = pickle.loads(pickle.dumps(client))
    assert asyncio.run(copy.complete(ask())).text == "one"
    assert repr(copy) == repr(client) == "ReplayClient('r.jsonl')"
    assert isinstance(copy, Client)


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "r.jsonl", request(1), reply(1, "one"), request(2))
    path.write_bytes(path.read_bytes()[: -cut - 1])
    assert asyncio.run(ReplayClient(path).complete(ask())).text == "one"


def test_a_whole_last_line_without_its_end_of_line_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", request(1), reply(1, "one"))
    path.write_bytes(path.read_bytes()[:-1])
    assert asyncio.run(ReplayClient(path).complete(ask())).text == "one"


BAD_LINES = [
    "{",
    "",
    "[1]",
    '"text"',
    '{"event": "request", "id": 1, "request": {}}',
    '{"event": "request", "id": 2, "request": {}}',
    '{"event": "reply", "id": 7, "reply": {"text": ""}}',
    '{"event": "reply", "id": 1, "reply": {"text": 3}}',
    '{"event": "reply", "id": 1, "reply": {"text": "", "other": 3}}',
    '{"event": "reply", "id": 1, "reply": {"text": "", "usage": {"prompt_tokens": 1}}}',
    '{"event": "error", "id": 1, "error": {"type": "ClientError"}}',
    '{"event": "shrug", "id": 1}',
    "\x00",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_any_other_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "r.jsonl", request(1))
    path.write_text(f"{path.read_text()}{line}\n{json.dumps(reply(1, 'one'))}\n")
    with pytest.raises(UsageError, match=r"r\.jsonl', line 3: no (event of a recording|JSON document)"):
        ReplayClient(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: not the header"),
        ('{"schema_ver', "line 1: not the header"),
        ("[]\n", "line 1: not the header"),
        ('{"schema_version": 1}\n', "line 1: not the header"),
        ('{"schema_version": 2, "kind": "optuna-llm recording"}\n', "schema_version 2 is not known here"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        ReplayClient(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"r\.jsonl' cannot be read"):
        ReplayClient(tmp_path / "r.jsonl")


@pytest.mark.asyncio
async def test_a_request_that_was_recorded_with_a_secret_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "earlier.jsonl"
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "password=hunter2"}],
        "schema": {},
        "max_tokens": 1024,
        "seed": None,
    }
    events = [
        HEADER,
        {"event": "request", "id": 1, "request": {**asked, "metadata": {}}},
        {"event": "reply", "id": 1, "reply": {"text": "{}"}},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    client = await asyncio.to_thread(ReplayClient, path)
    reply = await client.complete(Request(messages=asked["messages"], schema={}))
    assert reply.text == "{}"
