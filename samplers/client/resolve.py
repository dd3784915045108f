"""What users write as `model` becomes a client."""

import threading
import weakref
from difflib import SequenceMatcher
from typing import Any, Final

from ...engine.errors import UsageError
from .litellm_client import LiteLLMClient
from .local_client import LocalClient
from .protocol import Client

LOCAL: Final = "local"

# Of two names' likeness, from 0 to 1: "local" with a letter wrong, missing or too many is above it, "ollama" is not.
NEAR: Final = 0.75

SUFFIX: Final = ".gguf"

_by_name: weakref.WeakValueDictionary[str, Client] = weakref.WeakValueDictionary()
_lock = threading.Lock()  # held while a client is looked up or made: one name never means two clients


def resolve(model: str | Client) -> Client:
    """The client of a LiteLLM model string, of "local" or "local:PATH.gguf"; a `Client` is returned as it is.

    One string means one client for as long as anything uses it: a provider's limits hold for all who ask.
    """
    if isinstance(model, str):
        with _lock:
            client = _by_name.get(model)
            if client is None:
                client = _by_name[model] = _made_for(model)
            return client
    if isinstance(model, type) or not isinstance(model, Client):
        raise UsageError(f"model must be a LiteLLM model string, 'local', 'local:PATH.gguf' or a Client, got {model!r}")
    return model


def _made_for(model: str) -> Client:
    name, colon, path = model.partition(":")
    if name != LOCAL:
        return provider_client(model)
    if colon and not path:
        raise UsageError("'local:' needs the path of a GGUF file after the colon")
    return LocalClient(path or None)


def provider_client(model: str, **options: Any) -> LiteLLMClient:
    """A new client for a LiteLLM model string. Raises `UsageError` for what is none, or means a local one."""
    if (meant := _nearly_local(model) or _file_of_a_model(model)) is not None:
        raise UsageError(f"there is no model {model!r}; did you mean {meant!r}?")
    return LiteLLMClient(model, **options)


def _nearly_local(model: str) -> str | None:
    """What was meant by a misspelt "local" or "local:PATH"; None for any other name."""
    name, colon, path = model.partition(":")
    near = "/" not in name and SequenceMatcher(None, name.strip().lower(), LOCAL).ratio() >= NEAR
    return f"{LOCAL}{colon * bool(path)}{path}" if near else None


def _file_of_a_model(model: str) -> str | None:
    """What was meant by a GGUF file without "local:", or after "local/"; None where it may be a provider's."""
    path = model.removeprefix(f"{LOCAL}/")
    named = path != model or "/" not in path or path.startswith((".", "/", "~"))
    return f"{LOCAL}:{path}" if named and path.lower().endswith(SUFFIX) else None
