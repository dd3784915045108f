"""The way from an ask to a model: retry > limits > budget > one attempt.

All who use one client object share its limiter and its account; the clients that model strings stand for are shared as
well. What belongs to one ask, its slot and its spending, is in wrappers of its own.
"""

import threading
import weakref
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...engine.logs import get_logger
from ...engine.records import Charge, Proposal
from ...engine.study.door import StudyDoor
from ..client.protocol import PRICE_NAMES, Capabilities, Client, Reply, Request, capabilities_of, unknown_prices
from .bookkeeping import Books
from .budget import NOTHING, Account, BudgetedClient
from .limited_client import Estimator, LimitedClient
from .limiter import Limiter
from .retrying_client import LONGEST_WAIT_SECONDS, RetryingClient

logger = get_logger("optuna_llm.samplers")


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
    _priced: bool = field(default=False, init=False, repr=False)  # or said to have no price

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the client says about itself."""
        return capabilities_of(self.client)

    def calls(
        self, books: Books | None = None, door: StudyDoor | None = None, *, patience: float | None = None
    ) -> "AskCalls":
        """A way to the model for the calls of one ask, whose spending goes into `books`, for the study of `door`.

        A server that asks to wait for longer than `patience`, in seconds, is not waited for.
        """
        open_books = None if books is None or door is None else (books, door)
        wait = LONGEST_WAIT_SECONDS if patience is None else min(patience, LONGEST_WAIT_SECONDS)
        return AskCalls(self, open_books, wait)

    async def warm_up(self) -> None:
        """Do all that a first request would wait for."""
        await self.capabilities.warm_up()
        if not self._priced and self.capabilities.prices is not unknown_prices:
            self._priced = True
            if not (await self.capabilities.prices()).known and self.account.budget.usd is None:
                logger.info(
                    "What %s costs is not known, unless its replies say so; extra={%s} gives prices",
                    self.capabilities.model,
                    ", ".join(f"{name!r}: ..." for name in PRICE_NAMES),
                )


class AskCalls:
    """The calls of one ask, one after the other, and what they took.

    `turn()` waits until the first request may be sent, before it is written: what goes on meanwhile will be in it.
    """

    def __init__(self, stack: ClientStack, books: tuple[Books, StudyDoor] | None, patience: float) -> None:
        self._stack = stack
        self._books = books
        self._held = NOTHING  # what the last reply took, while it is not known what becomes of it
        prices = stack.capabilities.prices
        self._budgeted = BudgetedClient(stack.client, stack.account, prices, on_spent=self._spend)
        self._limited = LimitedClient(self._budgeted, stack.limiter, stack.estimator, self._prepare, patience)
        self._retrying = RetryingClient(self._limited, patience=patience)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Within it the first request may be sent at once."""
        return self._limited.turn()

    def complete(self, request: Request) -> Awaitable[Reply]:
        """Ask one question, in as many attempts as it takes."""
        return self._retrying.complete(request)

    def proposals_left(self) -> int | None:
        """For how many more proposals the budget pays; None where it has no end."""
        return self._stack.account.proposals_left()

    @property
    def spent(self) -> Charge:
        """What the calls took so far."""
        return self._budgeted.spent

    def accepted(self, proposal: Proposal) -> None:
        """The last reply became a proposal, on whose record all calls are."""
        if self._books is not None:
            books, door = self._books
            books.expect(door, proposal, self._held)
        self._held = NOTHING

    def refused(self) -> None:
        """The last reply was of no use, or nobody waits for what becomes of it."""
        if self._books is not None and self._held.requests:
            books, door = self._books
            books.spend(door, self._held)
        self._held = NOTHING

    def _spend(self, charge: Charge, answered: bool) -> None:
        self.refused()  # there is another one after it
        self._held = charge
        if not answered:
            self.refused()

    async def _prepare(self) -> None:
        """Have nothing left that takes time between a slot and its request, and know what others have spent."""
        self.refused()
        await self._stack.warm_up()
        if self._books is not None:
            books, door = self._books
            await books.balance(door)
