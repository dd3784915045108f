"""What stands between an ask and an attempt: retries, rates, a budget."""

from .budget import Account, Budget
from .limits import Limits
from .retrying_client import RetryingClient
from .stack import ClientStack

__all__ = ["Account", "Budget", "ClientStack", "Limits", "RetryingClient"]
