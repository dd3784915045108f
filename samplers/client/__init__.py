"""Speaks to models: one request in, one reply out, within rates, retries and a budget."""

from .errors import (
    AuthenticationError,
    ClientError,
    DeadlineExceededError,
    ModelNotFoundError,
    QuotaExceededError,
    ThrottledError,
    TransientError,
)
from .function_client import FunctionClient
from .litellm_client import LiteLLMClient
from .local import LocalClient
from .protocol import Client, Reply, Request, Usage
from .resolve import resolve
from .retry import RetryingClient

__all__ = [
    "AuthenticationError",
    "Client",
    "ClientError",
    "DeadlineExceededError",
    "FunctionClient",
    "LiteLLMClient",
    "LocalClient",
    "ModelNotFoundError",
    "QuotaExceededError",
    "Reply",
    "Request",
    "RetryingClient",
    "ThrottledError",
    "TransientError",
    "Usage",
    "resolve",
]
