"""LiteLLM, loaded when it is first needed and once: it is slow to import, noisy, and keeps connections open."""

import contextlib
import functools
import importlib
import inspect
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..llm_loop import at_close

# LiteLLM reads these while it is imported: no price list over the network, no `.env` file.
_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}

# A connection that takes longer, through a proxy or not, will not come: OpenAI's own library gives it half of that.
CONNECT_SECONDS: Final = 10.0

_GEMINI: Final = (
    "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini",
    "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching",
)
# What a provider's first request would import while the loop waits.
_LATE: Final[Mapping[str, Sequence[str]]] = {
    "gemini": _GEMINI,
    "mistral": ("litellm.llms.mistral.chat.transformation",),
    "vertex_ai": _GEMINI,
}


@functools.cache
def load() -> Any:
    """LiteLLM, imported and warm: takes seconds, so call it in a thread; later calls are free."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What is odd in a reply is dealt with here; OpenAI's library, which LiteLLM uses, only warns of it.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
    # The first request imports these, which would stall every other request for most of a second.
    importlib.import_module("openai.resources")
    litellm.completion(model="openai/warm-up", messages=[{"role": "user", "content": ""}], mock_response="{}")
    at_close(close_connections)
    return litellm


@functools.cache
def ready(model: str) -> Any:
    """LiteLLM, with all that a model's first request would import on the loop; its import warnings are not shown."""
    litellm = load()
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        for name in _LATE.get(model.partition("/")[0], ()):
            importlib.import_module(name)
    return litellm


@functools.cache
def timeout_of(model: str, seconds: float, *, is_reached: bool) -> Any:
    """What LiteLLM is told to wait; of the connection, for less, where it can tell the two apart.

    What a proxy takes counts as the wait for a free connection, of which there are plenty at first.
    """
    if not load().utils.supports_httpx_timeout(model.partition("/")[0]):
        return seconds
    connect = min(seconds, CONNECT_SECONDS)
    return importlib.import_module("httpx").Timeout(seconds, connect=connect, pool=seconds if is_reached else connect)


async def close_connections() -> None:
    """Close the running loop's: LiteLLM keeps its HTTP clients in one cache, under keys that end with their loop."""
    if not load.cache_info().currsize:
        return
    clients = load().in_memory_llm_clients_cache
    ending = clients.update_cache_key_with_event_loop("")
    for key in [key for key in clients.cache_dict if str(key).endswith(ending)]:
        close = getattr(clients.cache_dict.pop(key), "close", None)
        if inspect.iscoroutinefunction(close):
            await close()
