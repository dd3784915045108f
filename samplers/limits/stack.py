"""The way from an ask to a model: retry > limits > budget > one attempt.

All who use one client object share its limiter and its account; the clients that model strings stand for are shared as
well. What belongs to one ask, its slot and its spending, is in wrappers of its own.
"""

import threading
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...engine.records import Charge
from ..client.protocol import Capabilities, Client, Prices, capabilities_of
from .budget import Account, BudgetedClient
from .limited_client import Estimator, LimitedClient
from .limiter import Limiter
from .retrying_client import RetryingClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """The limiter and the account of one client object, which all who use it share."""

    limiter: Limiter = field(default_factory=Limiter)
    account: Account = field(default_factory=Account)


_by_client: weakref.WeakKeyDictionary[Any, ClientLimits] = weakref.WeakKeyDictionary()
_by_id: dict[int, tuple[Client, ClientLimits]] = {}
_lock = threading.Lock()  # held while limits are looked up or made: a client never has two


def limits_of(client: Client) -> ClientLimits:
    """The one limiter and the one account of a client object."""
    with _lock:
        try:
            return _by_client.setdefault(client, ClientLimits())
        except TypeError:  # neither hashable nor weakly referable: then it is kept
            return _by_id.setdefault(id(client), (client, ClientLimits()))[1]


@dataclass(eq=False)
class ClientStack:
    """One client for one account, with everything between an ask and an attempt."""

    client: Client
    limiter: Limiter
    account: Account
    estimator: Estimator = field(default_factory=Estimator, repr=False)
    _prices: Prices | None = field(default=None, init=False, repr=False)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the client says about itself."""
        return capabilities_of(self.client)

    def calls(self) -> "AskCalls":
        """A way to the model for the calls of one ask."""
        return AskCalls(self)

    async def prices(self) -> Prices:
        """The client's prices, asked for once."""
        if self._prices is None:
            self._prices = await self.capabilities.prices()
        return self._prices


class AskCalls:
    """The calls of one ask, one after the other, and what they took.

    `turn()` waits until the first request may be sent, before it is written: what goes on meanwhile will be in it.
    `complete(request)` is one question and its answer, over as many attempts as it takes. `proposals_left()` is what
    the budget pays for.
    """

    def __init__(self, stack: ClientStack) -> None:
        self._budgeted = BudgetedClient(stack.client, stack.account, prices=stack.prices)
        limited = LimitedClient(self._budgeted, stack.limiter, stack.estimator)
        self.turn = limited.turn
        self.complete = RetryingClient(limited).complete
        self.proposals_left = stack.account.proposals_left

    @property
    def spent(self) -> Charge:
        """What the calls took so far."""
        return self._budgeted.spent
