"""Says what a request costs: by the user's prices, by LiteLLM's table, or as the server tells."""

from .cost import cost_of
from .table import prices_of
from .tiers import require_tier, timeout_for

__all__ = ["cost_of", "prices_of", "require_tier", "timeout_for"]
