"""Speaks to models: one request in, one reply out."""

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
from .local_client import LocalClient
from .protocol import Client, Prices, Reply, Request, Usage
from .resolve import resolve

__all__ = [
    "AuthenticationError",
    "Client",
    "ClientError",
    "DeadlineExceededError",
    "FunctionClient",
    "LiteLLMClient",
    "LocalClient",
    "ModelNotFoundError",
    "Prices",
    "QuotaExceededError",
    "Reply",
    "Request",
    "ThrottledError",
    "TransientError",
    "Usage",
    "resolve",
]
