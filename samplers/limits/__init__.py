"""What stands between an ask and an attempt: retries, rates, a budget."""

from .budget import Account, Budget
from .limits import Limits
from .retrying_client import RetryingClient
from .stack import Line

__all__ = ["Account", "Budget", "Limits", "Line", "RetryingClient"]
