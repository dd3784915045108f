"""Speaks to models: one request in, one reply out, within rates, retries and a budget."""

from .budget import Account, Budget
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
from .limits import Limits
from .line import Line
from .litellm_client import LiteLLMClient
from .local import LocalClient
from .protocol import Client, Reply, Request, Usage
from .recording import RecordingClient
from .replay import ReplayClient
from .resolve import resolve
from .retry import RetryingClient

__all__ = [
    "Account",
    "AuthenticationError",
    "Budget",
    "Client",
    "ClientError",
    "DeadlineExceededError",
    "FunctionClient",
    "Limits",
    "Line",
    "LiteLLMClient",
    "LocalClient",
    "ModelNotFoundError",
    "QuotaExceededError",
    "RecordingClient",
    "ReplayClient",
    "Reply",
    "Request",
    "RetryingClient",
    "ThrottledError",
    "TransientError",
    "Usage",
    "resolve",
]
