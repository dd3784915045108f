import pytest

from optuna_llm.samplers.client import (
    AuthenticationError,
    ClientError,
    DeadlineExceededError,
    FunctionClient,
    ModelNotFoundError,
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
)
from optuna_llm.samplers.client.errors import as_unreached
from optuna_llm.samplers.limits import RetryingClient
from optuna_llm.samplers.limits.retrying_client import CAP_SECONDS, LONGEST_WAIT_SECONDS, backoff

REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object"})


class Script:
    """Raises the scripted errors in turn, then answers; records the sleeps between."""

    def __init__(self, *errors: Exception, attempts: int = 5) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.sleeps: list[float] = []
        self.client = RetryingClient(FunctionClient(self.answer), attempts=attempts, sleep=self.sleep, draw=lambda: 0.5)

    def answer(self, request: Request) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "{}"

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [ThrottledError("t"), TransientError("t"), DeadlineExceededError("t")])
async def test_a_transient_error_is_asked_again(error: ClientError) -> None:
    script = Script(error)
    assert await script.client.complete(REQUEST) == Reply(text="{}")
    assert script.calls == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error",
    [AuthenticationError("x"), ModelNotFoundError("x"), QuotaExceededError("x"), ClientError("x"), KeyError("x")],
)
async def test_any_other_error_is_raised_after_one_request(error: Exception) -> None:
    script = Script(error)
    with pytest.raises(type(error)):
        await script.client.complete(REQUEST)
    assert (script.calls, script.sleeps) == (1, [])


@pytest.mark.asyncio
async def test_the_last_attempt_raises_its_error() -> None:
    errors = [TransientError(str(number)) for number in range(9)]
    script = Script(*errors, attempts=3)
    with pytest.raises(TransientError, match="2"):
        await script.client.complete(REQUEST)
    assert (script.calls, len(script.sleeps)) == (3, 2)


@pytest.mark.asyncio
async def test_a_missed_deadline_is_retried_once_whatever_came_between() -> None:
    script = Script(DeadlineExceededError("a"), TransientError("b"), DeadlineExceededError("c"), TransientError("d"))
    with pytest.raises(DeadlineExceededError, match="c"):
        await script.client.complete(REQUEST)
    assert script.calls == 3


@pytest.mark.asyncio
async def test_what_the_server_asked_for_is_waited_in_full() -> None:
    script = Script(ThrottledError("t", retry_after=7.0))
    await script.client.complete(REQUEST)
    assert script.sleeps == [7.25]


@pytest.mark.asyncio
async def test_a_pause_too_long_to_sleep_through_is_handed_to_the_caller() -> None:
    script = Script(ThrottledError("t", retry_after=LONGEST_WAIT_SECONDS + 1))
    with pytest.raises(ThrottledError) as caught:
        await script.client.complete(REQUEST)
    assert caught.value.retry_after == LONGEST_WAIT_SECONDS + 1
    assert script.sleeps == []


def test_backoff_doubles_up_to_its_cap() -> None:
    assert [backoff(failures, None, 1.0) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff(10_000, None, 1.0) == CAP_SECONDS


def test_backoff_is_jittered_down_to_nothing() -> None:
    assert backoff(3, None, 0.0) == 0.0


@pytest.mark.asyncio
@pytest.mark.parametrize(("error", "calls"), [(TransientError("x"), 3), (DeadlineExceededError("x"), 1)])
async def test_a_place_where_nothing_has_ever_answered_is_not_tried_for_long(error: ClientError, calls: int) -> None:
    script = Script(*[as_unreached(error) for _ in range(5)])
    with pytest.raises(type(error), match="nothing has answered there so far: check api_base"):
        await script.client.complete(REQUEST)
    assert script.calls == calls
    assert sum(script.sleeps) < 2
