"""What users write as `model` becomes a client."""

import threading
import weakref

from ...engine.errors import UsageError
from .litellm_client import LiteLLMClient
from .local_client import LocalClient
from .protocol import Client

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
    if name != "local":
        return LiteLLMClient(model)
    if colon and not path:
        raise UsageError("'local:' needs the path of a GGUF file after the colon")
    return LocalClient(path or None)
