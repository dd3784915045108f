import functools
import json
import math
from typing import Any

import pytest

from optuna_llm.engine.errors import UsageError
from optuna_llm.samplers.client import Client, FunctionClient, Reply, Request

REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object"})

pytestmark = pytest.mark.asyncio


async def asynchronous(request: Request) -> dict[str, Any]:
    return {"asked": request.messages[0]["content"]}


class Backend:
    def __call__(self, request: Request) -> str:
        return "called"

    async def later(self, request: Request) -> str:
        return "later"


def suffixed(suffix: str, request: Request) -> str:
    return f"{request.max_tokens}{suffix}"


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda request: "plain", "plain"),
        (asynchronous, '{"asked": "hi"}'),
        (Backend(), "called"),
        (Backend().later, "later"),
        (functools.partial(suffixed, "!"), "1024!"),
    ],
)
async def test_any_callable_may_answer(fn: Any, text: str) -> None:
    assert await FunctionClient(fn).complete(REQUEST) == Reply(text=text)


async def test_a_reply_is_passed_on_as_it_is() -> None:
    reply = Reply(text="{}", model="mine")
    assert await FunctionClient(lambda request: reply).complete(REQUEST) is reply


async def test_numbers_that_json_does_not_know_pass_through() -> None:
    reply = await FunctionClient(lambda request: {"x": math.nan, "y": math.inf}).complete(REQUEST)
    assert reply.text == '{"x": NaN, "y": Infinity}'
    assert math.isnan(json.loads(reply.text)["x"])


async def test_a_dict_that_cannot_be_dumped_is_named() -> None:
    with pytest.raises(TypeError, match=r"no JSON document.*complex"):
        await FunctionClient(lambda request: {"x": 1j}).complete(REQUEST)


@pytest.mark.parametrize("answer", [None, 3, [1], b"{}"])
async def test_any_other_answer_says_what_to_return(answer: Any) -> None:
    with pytest.raises(TypeError, match="return the JSON document as a str or a dict, or a Reply"):
        await FunctionClient(lambda request: answer).complete(REQUEST)


async def test_exceptions_of_the_function_pass_as_they_are() -> None:
    error = LookupError("mine")

    def fail(request: Request) -> str:
        raise error

    with pytest.raises(LookupError) as caught:
        await FunctionClient(fail).complete(REQUEST)
    assert caught.value is error


async def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="'gpt'"):
        FunctionClient("gpt")  # type: ignore[arg-type]


async def test_it_is_a_client_and_shows_its_function() -> None:
    client = FunctionClient(asynchronous)
    assert isinstance(client, Client)
    assert "asynchronous" in repr(client)
