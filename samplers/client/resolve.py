"""What users write as `model` becomes a client."""

from ...engine.errors import UsageError
from .litellm_client import LiteLLMClient
from .local import LocalClient
from .protocol import Client
from .retry import RetryingClient


def resolve(model: str | Client) -> Client:
    """The client of a LiteLLM model string, of "local" or "local:PATH.gguf"; a `Client` is returned as it is."""
    if isinstance(model, str):
        return RetryingClient(_named(model))
    if isinstance(model, type) or not isinstance(model, Client):
        raise UsageError(f"model must be a LiteLLM model string, 'local', 'local:PATH.gguf' or a Client, got {model!r}")
    return model


def _named(model: str) -> Client:
    name, colon, path = model.partition(":")
    if name != "local":
        return LiteLLMClient(model)
    if colon and not path:
        raise UsageError("'local:' needs the path of a GGUF file after the colon")
    return LocalClient(path or None)
