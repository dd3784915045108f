"""Knows service tiers: cheaper and slower, or dearer and faster, service for the same model."""

from typing import Any, Final

from ....engine.errors import UsageError

FLEX: Final = "flex"

# Seconds. OpenAI recommends 15 minutes for its flex tier, where requests wait for idle capacity.
STANDARD_TIMEOUT_SECONDS: Final = 60.0
FLEX_TIMEOUT_SECONDS: Final = 900.0


def timeout_for(tier: str | None, given: float | None) -> float:
    """The total time of a request in seconds: what was given, else what suits the tier."""
    if given is not None:
        return given
    return FLEX_TIMEOUT_SECONDS if tier == FLEX else STANDARD_TIMEOUT_SECONDS


def require_tier(model: str, tier: str | None, litellm: Any) -> None:
    """Raise `UsageError` if LiteLLM cannot ask the model's provider for the tier."""
    if tier is None:
        return
    provider, _, name = model.partition("/")
    try:
        litellm.get_optional_params(model=name, custom_llm_provider=provider, service_tier=tier)
    except Exception as error:
        if type(error).__name__ != "UnsupportedParamsError":
            return  # the request itself will say what is wrong
    else:
        return
    raise UsageError(
        f"{provider!r} has no service_tier={tier!r} that LiteLLM can ask for: leave service_tier= out for {model!r}"
    )
