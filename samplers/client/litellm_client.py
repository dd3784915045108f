"""Any provider that LiteLLM speaks to."""

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ...engine.errors import UsageError
from ...engine.logs import get_logger, say_once
from ...engine.secrets import scrub
from ..wire.cache_marks import caches_at_marks, mark_arguments, marked
from ..wire.ladder import MODES, SORTING_PROVIDERS, Manner, Mode, completion_arguments, thinks
from .errors import AuthenticationError, ClientError, DeadlineExceededError, as_unreached, told_of_silence
from .library import (
    close_connections,
    first_mode,
    info_of,
    load,
    most_tokens,
    ready,
    takes_seed,
    thinking_tokens,
    timeout_of,
)
from .library.models import REASONING_TOKENS
from .litellm_errors import ErrorFacts, facts_in, facts_of, translate
from .pricing import cost_of, prices_of, require_tier, timeout_for
from .protocol import PRICE_NAMES, Prices, Reply, Request, prices_in
from .secret import Secret, is_secret, secrets_in
from .structured_output import (
    Heard,
    SchemaRejectedError,
    field_of,
    is_cut_in_thought,
    quota_in,
    reply_in,
    usage_in,
    without_refused,
)

logger = get_logger("optuna_llm.samplers.client")

# Sent to a custom server when no key was given: otherwise LiteLLM would send it the environment's.
NO_KEY: Final = "no-key"

_BASES: Final = ("api_base", "base_url")


class LiteLLMClient:
    """Asks `model`, a LiteLLM model string such as "openai/gpt-5.4-mini", and sends each request once.

    `timeout` is the total time of a request in seconds, None for 60, or 900 in the flex tier. `max_tokens` is a cap on
    the answer (None: what the request asks for; a reasoning model, and one that is seen to think, gets
    `REASONING_TOKENS` more for its thoughts). `temperature` and `service_tier` ("flex", "priority") are sent only when
    given. `extra` goes to LiteLLM as it is; `input_cost_per_token` and `output_cost_per_token` in it are prices in US
    dollars, which are believed before any other.

    `api_key` is a key or a function that gives one; without it, the provider's environment variable is read, but never
    sent to a custom `api_base`. Pickles and copies leave out the key and everything in `extra` that is named like a
    secret. `structured_output` pins how the answer is held to its schema: "json_schema", "json_schema_without_bounds",
    "tool", "json_object" or "prompt". Without it the client begins with what LiteLLM knows of the model, and steps down
    when the server refuses. Where a provider caches prompts at marks, the parts of a prompt that last are marked.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float | None = None,
        service_tier: str | None = None,
        extra: Mapping[str, Any] | None = None,
        structured_output: Mode | None = None,
    ) -> None:
        self.model = _valid_model(model)
        self.service_tier = service_tier
        self.timeout = timeout_for(service_tier, timeout)
        if (max_tokens is not None and max_tokens < 1) or not self.timeout > 0:
            raise UsageError(f"max_tokens and timeout must be positive, got {max_tokens!r} and {timeout!r}")
        self.extra = dict(extra or {})
        bases = [api_base, *(self.extra.pop(name, None) for name in _BASES)]
        self.api_base = next((base for base in bases if base), None)
        self.temperature = temperature
        self.max_tokens = max_tokens
        self._own_prices = prices_in(self.extra)
        if structured_output not in (None, *MODES):
            raise UsageError(f"structured_output must be one of {MODES} or None, not {structured_output!r}")
        self.structured_output = structured_output
        key_in_extra = self.extra.pop("api_key", None)
        self._api_key = Secret(api_key or key_in_extra)
        self._is_warm = False
        self._silent: set[str] = set()  # what a user was told to have not answered
        self._is_reached = False  # whether anything has ever answered, well or not
        self.manner: Manner | None = None  # as the server is known to take it

    def __repr__(self) -> str:
        base = f", api_base={scrub(self.api_base)!r}" if self.api_base else ""
        return f"LiteLLMClient({self.model!r}{base})"

    def __getstate__(self) -> dict[str, Any]:
        extra = {name: value for name, value in self.extra.items() if not is_secret(name)}
        return {**self.__dict__, "extra": extra, "_is_warm": False, "_is_reached": False}

    async def complete(self, request: Request) -> Reply:
        await self.warm_up()
        litellm = load()
        _users_of(asyncio.get_running_loop()).add(self)
        manner = self.manner = self.manner or self._first_manner()
        key: str | None = None
        heard = Heard()
        failure: ClientError
        try:
            async with asyncio.timeout(self.timeout):
                key = await self._api_key.reveal_async()
                with self._told_of_silence():
                    response = await litellm.acompletion(**self._arguments(request, manner, key), logger_fn=heard)
            self._is_reached = True
            return self._understood(response, heard, key)
        except TimeoutError:
            failure = DeadlineExceededError(f"model {self.model!r}: no complete answer within {self.timeout:g} s")
        except ClientError as error:
            failure = self._explained(error, manner)
        except Exception as error:
            if (reply := self._salvaged(heard)) is not None:
                return reply
            failure = self._explained(self._translated(facts_of(error, heard.text), key), manner)
        if failure.transient and not self._is_reached:
            failure = as_unreached(failure)
        raise failure  # outside the handlers: the original may hold the key, and its traceback the prompt

    async def warm_up(self) -> None:
        """Import LiteLLM, and have the key's function answer once: both may take seconds."""
        if not self._is_warm:
            if "litellm" not in sys.modules:
                say_once(logger, "Loading LiteLLM, which takes some seconds")
            litellm = await asyncio.to_thread(ready, self.model)
            require_tier(self.model, self.service_tier, litellm)
            with contextlib.suppress(TimeoutError, ClientError):  # the request itself will say so
                async with asyncio.timeout(self.timeout):
                    await self._api_key.reveal_async()
            self._is_warm = True

    def _told_of_silence(self) -> contextlib.AbstractContextManager[None]:
        if self._is_reached:
            return contextlib.nullcontext()
        return told_of_silence(self.model, once=self._silent, seconds=self.timeout)

    async def aclose(self) -> None:
        """Close the connections, once no other client on this loop uses them: LiteLLM shares them."""
        loop = asyncio.get_running_loop()
        users = _users_of(loop)
        users.discard(self)
        if not users:
            await close_connections()

    async def prices(self) -> Prices:
        """What `extra` or LiteLLM's own table says that tokens cost, see `pricing`."""
        if not self._is_warm:
            await asyncio.to_thread(load)
        prices = self._own_prices
        if not prices.known:
            writes = bool((self.manner or self._first_manner()).marks)
            prices = prices_of(self.model, self.service_tier, load().model_cost, writes=writes)
        return replace(prices, extra_tokens=self._room_to_think(0, self.manner))

    def _understood(self, response: Any, heard: Heard, key: str | None) -> Reply:
        """The reply; raises the error that a server put in its place."""
        choice = response.choices[0] if response.choices else None
        tier = self.service_tier and (getattr(response, "service_tier", None) or self.service_tier)
        usage = usage_in(response, lambda usage: cost_of(usage, self.model, tier, self._own_prices, load()))
        reply = reply_in(choice, heard, model=response.model, usage=usage)
        if not reply.text and (facts := facts_in(heard.document)) is not None:
            raise self._translated(facts, key)
        self._make_room(choice, reply)
        return replace(reply, quota=quota_in(response))

    def _salvaged(self, heard: Heard) -> Reply | None:
        """A reply that LiteLLM could not read, as far as we can: it was received, and is paid for."""
        if heard.choices is None or facts_in(heard.document) is not None:
            return None
        choice = heard.choices[0] if heard.choices else None
        usage = heard.usage(self._own_prices)
        reply = reply_in(choice, heard, model=heard.document.get("model"), usage=usage)
        self._make_room(choice, reply)
        return reply

    def _make_room(self, choice: Any, reply: Reply) -> None:
        """Give a model that turns out to think the room to do so, from the next request on."""
        cut = is_cut_in_thought(field_of(choice, "message"), reply.finish_reason)
        if cut and not self._room_to_think(0, self.manner):
            self.manner = replace(self.manner or self._first_manner(), room=REASONING_TOKENS)

    def _room_to_think(self, cap: int, manner: Manner | None) -> int:
        """Completion tokens beyond an answer's cap: as the table knows of the model, or as it showed itself."""
        return thinking_tokens(self.model, cap) or (manner.room if manner else 0)

    def _first_manner(self) -> Manner:
        """The strictest that the model may take, as far as is known before it is asked."""
        marks = caches_at_marks(self.model, info_of(self.model), api_base=self.api_base, extra=self.extra)
        mode = self.structured_output or first_mode(self.model, self.api_base)
        return Manner(mode=mode, forced=not thinks(self.extra), marks=marks)

    def _translated(self, facts: ErrorFacts, key: str | None) -> ClientError:
        self._is_reached = self._is_reached or facts.status is not None or facts.page or facts.unreadable
        return translate(facts, model=self.model, api_base=self.api_base, secrets=secrets_in(self.extra, key))

    def _explained(self, error: ClientError, asked: Manner) -> ClientError:
        """Give up what the server refused of the manner; say so if a key was not sent; else leave the error as it is.

        What another request has given up meanwhile stays so, and this one is sent again as all are by now.
        """
        names = (self.model, self.model.partition("/")[2], scrub(self.api_base or ""))
        left = without_refused(asked, error, names)
        if left is not None and (self.structured_output is None or left.mode == asked.mode):
            before = self.manner or asked
            self.manner = before.following(asked, left)
            words = f"{error} ({self.manner.words(asked)} from now on)"
            if self.manner != before:  # others that were refused with this one say nothing new
                logger.info("%s", words)
            return SchemaRejectedError(words, status=error.status)
        if isinstance(error, AuthenticationError) and self.api_base and not self._api_key:
            note = "the environment's key is not sent to a custom api_base: pass api_key="
            return AuthenticationError(f"{error}; {note}", status=error.status, code=error.code)
        return error

    def _arguments(self, request: Request, manner: Manner, key: str | None) -> dict[str, Any]:
        if key is None and self.api_base:
            key = NO_KEY
        optional = {"api_base": self.api_base, "api_key": key, "temperature": self.temperature}
        optional["service_tier"] = self.service_tier
        if request.seed is not None and takes_seed(self.model):
            optional["seed"] = request.seed
        cap = min(request.max_tokens, self.max_tokens or request.max_tokens, most_tokens(self.model))
        wanted = completion_arguments(
            request.messages,
            request.schema,
            manner.mode,
            forced=manner.forced,
            ordered=self.model.startswith(SORTING_PROVIDERS),
        )
        if manner.marks:
            wanted["messages"] = marked(wanted["messages"], request.prefix_ends)
        return {
            "model": self.model,
            **wanted,
            "max_tokens": min(cap + self._room_to_think(cap, manner), most_tokens(self.model)),
            "timeout": timeout_of(self.model, self.timeout, is_reached=self._is_reached),
            "num_retries": 0,
            "max_retries": 0,
            **{name: value for name, value in optional.items() if value is not None},
            # Not the prices: LiteLLM would make them those of every client in the process.
            **{name: value for name, value in self.extra.items() if name not in PRICE_NAMES},
            **(mark_arguments(self.model, self.extra) if manner.marks else {}),
        }


def _valid_model(model: str) -> str:
    provider, slash, name = model.partition("/") if isinstance(model, str) else ("", "", "")
    if not (slash and provider and name) or any(character.isspace() for character in model):
        raise UsageError(f"model {model!r} is not of the form 'provider/model', such as 'openai/gpt-5.4-mini'")
    return model


_users = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, "weakref.WeakSet[LiteLLMClient]"]()


def _users_of(loop: asyncio.AbstractEventLoop) -> weakref.WeakSet[LiteLLMClient]:
    return _users.setdefault(loop, weakref.WeakSet())
