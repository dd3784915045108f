"""LiteLLM itself: how it is loaded and closed, and what it knows of models."""

from .loading import close_connections, load, ready, timeout_of
from .models import first_mode, info_of, most_tokens, takes_seed, thinking_tokens

__all__ = [
    "close_connections",
    "first_mode",
    "info_of",
    "load",
    "most_tokens",
    "ready",
    "takes_seed",
    "thinking_tokens",
    "timeout_of",
]
