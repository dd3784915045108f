"""What LiteLLM knows of a model, read from its table: no server is asked."""

import functools
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from ...wire.ladder import Mode
from .loading import load

# A reasoning model may think so much before it answers: its thoughts count as completion tokens.
REASONING_TOKENS: Final = 8192


@functools.cache
def first_mode(model: str, api_base: str | None) -> Mode:
    """The strictest mode that the model may have: a model that LiteLLM does not know may well have all."""
    info = {} if api_base else info_of(model)
    if not info or info.get("supports_response_schema"):
        return "json_schema"
    if info.get("supports_function_calling"):
        return "tool"
    takes = load().get_supported_openai_params(model=model) or ()
    return "json_object" if "response_format" in takes else "prompt"


def info_of(model: str) -> Mapping[str, Any]:
    """What LiteLLM's table says of a model; empty if it is not there.

    Read as it is: `get_model_info` asks the servers of some providers, on the loop.
    """
    provider, _, name = model.partition("/")
    table = load().model_cost
    own = table.get(name, {})
    kinds = rf"{re.escape(provider)}(?:_converse|-.+)?"  # "bedrock_converse", "vertex_ai-anthropic_models"
    is_its = re.fullmatch(kinds, str(own.get("litellm_provider", "")))
    found: Mapping[str, Any] = table.get(model) or (own if is_its else {})
    return found


@functools.cache
def thinking_tokens(model: str, cap: int) -> int:
    """Completion tokens for a reasoning model's thoughts, within the most that the model may complete."""
    info = info_of(model)
    if not info.get("supports_reasoning"):
        return 0
    return max(0, min(REASONING_TOKENS, most_tokens(model) - cap))


@functools.cache
def most_tokens(model: str) -> int:
    """The most that the model may complete, thoughts included, as far as LiteLLM's table knows."""
    most = info_of(model).get("max_output_tokens")
    return most if isinstance(most, int) and most > 0 else sys.maxsize


@functools.cache
def takes_seed(model: str) -> bool:
    return "seed" in (load().get_supported_openai_params(model=model) or ())
