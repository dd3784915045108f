"""The line from an ask to a model: retry > limits > budget > one attempt.

What belongs to a client is shared by all that use it: one limiter for each client object of the process, and the
clients that model strings stand for are shared as well.
"""

import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ...engine.records import Charge
from ..client.protocol import Client, Reply, Request, schema_per_ask
from .budget import Account
from .budgeted_client import SPENT, BudgetedClient
from .limited_client import TURN, LimitedClient
from .limiter import Limiter, Slot
from .retrying_client import RetryingClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What everything that uses one client shares."""

    limiter: Limiter = field(default_factory=Limiter)
    account: Account = field(default_factory=Account)


_shared: weakref.WeakKeyDictionary[Any, Shared] = weakref.WeakKeyDictionary()
_shared_by_id: dict[int, tuple[Client, Shared]] = {}
_lock = threading.Lock()


def shared_of(client: Client) -> Shared:
    """The one limiter and the one account of a client object."""
    with _lock:
        try:
            return _shared.setdefault(client, Shared())
        except TypeError:  # neither hashable nor weakly referable: then it is kept
            return _shared_by_id.setdefault(id(client), (client, Shared()))[1]


class Line:
    """One client for one account, with everything between an ask and an attempt."""

    def __init__(self, client: Client, limiter: Limiter, account: Account) -> None:
        self.limiter = limiter
        self.account = account
        self.schema_per_ask = schema_per_ask(client)
        self._limited = LimitedClient(BudgetedClient(client, account), limiter)
        self._retrying = RetryingClient(self._limited)

    def __repr__(self) -> str:
        return f"Line({self._retrying!r})"

    def conversation(self) -> "Conversation":
        """For the calls of one ask."""
        return Conversation(self._limited.turn, self._retrying)


class Conversation:
    """The calls of one ask, and what they took."""

    def __init__(self, turn: Callable[[], Any], client: Client) -> None:
        self._turn = turn
        self._client = client
        self._slot: Slot | None = None
        self.spent = Charge()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the first request may be sent, before it is written; what goes on meanwhile will be in it."""
        async with self._turn() as slot:
            self._slot = slot
            try:
                yield
            finally:
                self._slot = None

    async def complete(self, request: Request) -> Reply:
        """One question and its answer, over as many attempts as it takes."""
        metadata = {**request.metadata, SPENT: self._add, TURN: self._slot}
        return await self._client.complete(replace(request, metadata=metadata))

    def _add(self, charge: Charge) -> None:
        self.spent += charge
