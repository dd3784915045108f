"""Any provider that LiteLLM speaks to. LiteLLM is slow to import and noisy, so all of it stays behind this file."""

import asyncio
import contextlib
import functools
import importlib
import inspect
import logging
import os
import re
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ...engine.errors import UsageError, scrub
from .errors import AuthenticationError, ClientError, DeadlineExceededError
from .litellm_errors import translate
from .llm_loop import at_close
from .protocol import Prices, Reply, Request, Usage
from .secret import Secret
from .structured_output import MODES, Mode, SchemaRejectedError, arguments, is_about_structure, next_mode, text_of

# LiteLLM reads these while it is imported: no price list over the network, no `.env` file.
_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}

# A reasoning model may think so much before it answers: its thoughts count as completion tokens.
REASONING_TOKENS: Final = 8192

# LiteLLM's names of prices, in US dollars; in this order.
PRICE_NAMES: Final = ("input_cost_per_token", "output_cost_per_token")

# Sent to a custom server when no key was given: otherwise LiteLLM would send it the environment's.
NO_KEY: Final = "no-key"

_BASES: Final = ("api_base", "base_url")
_SECRET_NAME: Final = re.compile(r"(?i)key|secret|password|credential|headers|(?:^|_)token$")

_GEMINI: Final = (
    "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini",
    "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching",
)
# What a provider's first request would import while the loop waits.
_LATE: Final[Mapping[str, Sequence[str]]] = {"gemini": _GEMINI, "vertex_ai": _GEMINI}


class LiteLLMClient:
    """Asks `model`, a LiteLLM model string such as "openai/gpt-5-mini", and sends each request once.

    `timeout` is the total time of a request in seconds, `max_tokens` a cap on the answer (a reasoning model gets
    `REASONING_TOKENS` more for its thoughts), `temperature` is sent only when given, `extra` goes to LiteLLM as it is;
    `input_cost_per_token` and `output_cost_per_token` in it are prices in US dollars.

    `api_key` is a key or a function that gives one; without it, the provider's environment variable is read, but never
    sent to a custom `api_base`. Pickles and copies leave out the key and everything in `extra` that is named like a
    secret. `structured_output` pins how the answer is held to its schema: "json_schema", "tool", "json_object" or
    "prompt". Without it the client begins with what LiteLLM knows of the model, and steps down when the server refuses.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        temperature: float | None = None,
        max_tokens: int = 1024,
        timeout: float = 60.0,
        extra: Mapping[str, Any] | None = None,
        structured_output: Mode | None = None,
    ) -> None:
        self.model = _valid_model(model)
        if max_tokens < 1 or not timeout > 0:
            raise UsageError(f"max_tokens and timeout must be positive, got {max_tokens!r} and {timeout!r}")
        self.extra = dict(extra or {})
        bases = [api_base, *(self.extra.pop(name, None) for name in _BASES)]
        self.api_base = next((base for base in bases if base), None)
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.timeout = timeout
        self._own_prices = _prices_in(self.extra)
        if structured_output not in (None, *MODES):
            raise UsageError(f"structured_output must be one of {MODES} or None, not {structured_output!r}")
        self.structured_output = structured_output
        self._mode: Mode | None = structured_output
        key_in_extra = self.extra.pop("api_key", None)
        self._api_key = Secret(api_key or key_in_extra)

    def __repr__(self) -> str:
        base = f", api_base={scrub(self.api_base)!r}" if self.api_base else ""
        return f"LiteLLMClient({self.model!r}{base})"

    def __getstate__(self) -> dict[str, Any]:
        extra = {name: value for name, value in self.extra.items() if not _SECRET_NAME.search(name)}
        return {**self.__dict__, "extra": extra}

    async def complete(self, request: Request) -> Reply:
        litellm = await asyncio.to_thread(_ready, self.model)
        _users_of(asyncio.get_running_loop()).add(self)
        started = time.monotonic()
        mode = self._mode = self._mode or first_mode(self.model, self.api_base)
        key: str | None = None
        failure: ClientError
        try:
            async with asyncio.timeout(self.timeout):
                key = await self._api_key.reveal_async()
                response = await litellm.acompletion(**self._arguments(request, mode, key))
            return _reply(response, self.model, time.monotonic() - started, self._own_prices)
        except TimeoutError:
            failure = DeadlineExceededError(f"model {self.model!r}: no complete answer within {self.timeout:g} s")
        except ClientError as error:
            failure = error
        except Exception as error:
            failure = translate(error, model=self.model, api_base=self.api_base, secrets=self._secrets(key))
            failure = self._explained(failure, mode)
        raise failure  # outside the handlers: the original may hold the key, and its traceback the prompt

    async def aclose(self) -> None:
        """Close the connections, once no other client on this loop uses them: LiteLLM shares them."""
        loop = asyncio.get_running_loop()
        users = _users_of(loop)
        users.discard(self)
        if not users:
            await _close_connections()

    async def prices(self) -> Prices:
        """What `extra` or LiteLLM's own table says that tokens cost; a server of your own has its own prices."""
        await asyncio.to_thread(load)
        prices = self._own_prices
        if not (prices.known or self.api_base):
            prompt, completion = map(_info(self.model).get, PRICE_NAMES)
            if prompt and completion is not None:
                prices = Prices(prompt=prompt, completion=completion)
        return replace(prices, extra_tokens=_thinking_tokens(self.model, 0))

    def _explained(self, error: ClientError, mode: Mode) -> ClientError:
        """Step down if the mode was refused; say so if a key was not sent; else leave the failure as it is."""
        names = (self.model, self.model.partition("/")[2], scrub(self.api_base or ""))
        if self.structured_output is None and is_about_structure(error, mode, names):
            lower = next_mode(mode)
            if lower is not None:
                if self._mode == mode:  # not if another request has stepped down already
                    self._mode = lower
                return SchemaRejectedError(f"{error} (asking in mode {self._mode!r} from now on)", status=error.status)
        if isinstance(error, AuthenticationError) and self.api_base and not self._api_key:
            note = "the environment's key is not sent to a custom api_base: pass api_key="
            return AuthenticationError(f"{error}; {note}", status=error.status, code=error.code)
        return error

    def _arguments(self, request: Request, mode: Mode, key: str | None) -> dict[str, Any]:
        if key is None and self.api_base:
            key = NO_KEY
        optional = {"api_base": self.api_base, "api_key": key, "temperature": self.temperature}
        if request.seed is not None and _takes_seed(self.model):
            optional["seed"] = request.seed
        cap = min(request.max_tokens, self.max_tokens)
        return {
            "model": self.model,
            **arguments(request, mode),
            "max_tokens": cap + _thinking_tokens(self.model, cap),
            "timeout": self.timeout,
            "num_retries": 0,
            "max_retries": 0,
            **{name: value for name, value in optional.items() if value is not None},
            # Not the prices: LiteLLM would make them those of every client in the process.
            **{name: value for name, value in self.extra.items() if name not in PRICE_NAMES},
        }

    def _secrets(self, key: str | None) -> list[str]:
        named = [value for name, value in self.extra.items() if _SECRET_NAME.search(name)]
        values = [v for value in named for v in (value.values() if isinstance(value, Mapping) else [value])]
        return [value for value in (key, *values) if isinstance(value, str)]


def _valid_model(model: str) -> str:
    provider, slash, name = model.partition("/") if isinstance(model, str) else ("", "", "")
    if not (slash and provider and name) or any(character.isspace() for character in model):
        raise UsageError(f"model {model!r} is not of the form 'provider/model', such as 'openai/gpt-5-mini'")
    return model


@functools.cache
def load() -> Any:
    """LiteLLM, imported and warm: takes seconds, so call it in a thread; later calls are free."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # The first request imports these, which would stall every other request for most of a second.
    importlib.import_module("openai.resources")
    litellm.completion(model="openai/warm-up", messages=[{"role": "user", "content": ""}], mock_response="{}")
    at_close(_close_connections)
    return litellm


@functools.cache
def _ready(model: str) -> Any:
    """LiteLLM, with all that a model's first request would import on the loop; its import warnings are not shown."""
    litellm = load()
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        for name in _LATE.get(model.partition("/")[0], ()):
            importlib.import_module(name)
    return litellm


@functools.cache
def first_mode(model: str, api_base: str | None) -> Mode:
    """The strictest mode that the model may have: a model that LiteLLM does not know may well have all."""
    info = {} if api_base else _info(model)
    if not info or info.get("supports_response_schema"):
        return "json_schema"
    if info.get("supports_function_calling"):
        return "tool"
    takes = load().get_supported_openai_params(model=model) or ()
    return "json_object" if "response_format" in takes else "prompt"


def _info(model: str) -> Mapping[str, Any]:
    """What LiteLLM's table says of a model; empty if it is not there.

    Read as it is: `get_model_info` asks the servers of some providers, on the loop.
    """
    provider, _, name = model.partition("/")
    table = load().model_cost
    own = table.get(name, {})
    found: Mapping[str, Any] = table.get(model) or (own if own.get("litellm_provider") == provider else {})
    return found


@functools.cache
def _thinking_tokens(model: str, cap: int) -> int:
    """Completion tokens for a reasoning model's thoughts, within the most that the model may complete."""
    info = _info(model)
    if not info.get("supports_reasoning"):
        return 0
    most = info.get("max_output_tokens")
    return max(0, min(REASONING_TOKENS, most - cap)) if isinstance(most, int) else REASONING_TOKENS


@functools.cache
def _takes_seed(model: str) -> bool:
    return "seed" in (load().get_supported_openai_params(model=model) or ())


_users: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakSet[LiteLLMClient]]
_users = weakref.WeakKeyDictionary()


def _users_of(loop: asyncio.AbstractEventLoop) -> weakref.WeakSet[LiteLLMClient]:
    return _users.setdefault(loop, weakref.WeakSet())


async def _close_connections() -> None:
    """Close the running loop's: LiteLLM keeps its HTTP clients in one cache, under keys that end with their loop."""
    if not load.cache_info().currsize:
        return
    clients = load().in_memory_llm_clients_cache
    ending = clients.update_cache_key_with_event_loop("")
    for key in [key for key in clients.cache_dict if str(key).endswith(ending)]:
        close = getattr(clients.cache_dict.pop(key), "close", None)
        if inspect.iscoroutinefunction(close):
            await close()


def _reply(response: Any, model: str, latency: float, prices: Prices) -> Reply:
    choice = response.choices[0] if response.choices else None
    message = getattr(choice, "message", None)
    fields = getattr(message, "provider_specific_fields", None) or {}
    # LiteLLM has moved it from one place to the other.
    refused = bool(fields.get("refusal") or getattr(message, "refusal", None)) and not text_of(message)
    return Reply(
        text=text_of(message),
        model=response.model,
        finish_reason="refusal" if refused else getattr(choice, "finish_reason", None),
        usage=_usage(getattr(response, "usage", None), model, prices),
        latency=latency,
        quota=_quota(response),
    )


def _usage(usage: Any, model: str, prices: Prices) -> Usage | None:
    if not getattr(usage, "prompt_tokens", 0):  # litellm fills in zeros where the provider sent nothing
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        cost=_cost(usage, model, prices),
    )


def _cost(usage: Any, model: str, prices: Prices) -> float | None:
    """By the prices that were given, else by the model that was asked for: a local server may answer under any name."""
    if prices.known:
        return prices.usd(usage.prompt_tokens, usage.completion_tokens or 0)
    try:
        prompt, completion = load().cost_per_token(model=model, usage_object=usage)
    except Exception:  # litellm raises a bare Exception for a model without a price
        return None
    return float(prompt + completion)


def _quota(response: Any) -> dict[str, str] | None:
    headers = (getattr(response, "_hidden_params", None) or {}).get("additional_headers") or {}
    named = {str(name).removeprefix("llm_provider-"): str(value) for name, value in headers.items()}
    return {name: value for name, value in named.items() if "ratelimit" in name} or None


def _prices_in(extra: Mapping[str, Any]) -> Prices:
    """The prices in a client's `extra`, under LiteLLM's names. Raises `UsageError` if only one is there."""
    values = [extra[name] for name in PRICE_NAMES if name in extra]
    if not values:
        return Prices()
    if len(values) < len(PRICE_NAMES) or not all(isinstance(value, int | float) and value >= 0 for value in values):
        raise UsageError(f"extra needs both {' and '.join(PRICE_NAMES)}, in US dollars per token, or neither")
    return Prices(prompt=float(values[0]), completion=float(values[1]))
