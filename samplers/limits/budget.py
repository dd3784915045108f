"""What asking may cost in all: reserve the worst case, send, settle what it really took.

A cap bounds the sum of three: what others have spent on the account's studies, what is spent through it, and what it
has reserved.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import asdict, dataclass
from typing import Final

from ...engine.arguments import number
from ...engine.errors import BudgetExhaustedError, UsageError
from ...engine.logs import counted
from ...engine.records import Charge
from ..client.protocol import Client, Prices, Reply, Request, capabilities_of, unknown_prices
from .claims import credible, most_tokens
from .living import Living

# Sums of many small dollar amounts round: a cap is not exceeded by the last digits of a float.
ROUNDING: Final = 1e-9

NOTHING: Final = Charge()
ONE_REQUEST: Final = Charge(requests=1)
NO_PRICES: Final = Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hard caps on what a study may spend on asking: US dollars, tokens (prompt and completion), requests.

    Spending is kept in the study, so a cap holds over restarts. None: no cap.
    """

    usd: float | None = None
    tokens: int | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        for name, cap in asdict(self).items():
            number(f"Budget({name}=)", cap, optional=True)


UNCAPPED: Final = Budget()


def first_exceeded_cap(budget: Budget, total: Charge) -> str | None:
    """The name of the first cap that `total` is above, None if it is within all."""
    caps = asdict(budget).items()
    return next((name for name, cap in caps if cap is not None and getattr(total, name) > cap * (1 + ROUNDING)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatistics:
    """An account at one moment: `spent` through it, `reserved` by open requests, spent `elsewhere` on its studies.

    `waiting` requests wait for a reservation to be settled.
    """

    spent: Charge
    reserved: Charge
    elsewhere: Charge
    waiting: int


class Account:
    """Everything that is spent through one client, on one or several studies; lives on the LLM loop.

    The studies' records name it by its `runs`: what stands there under another name was spent elsewhere.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.runs: set[str] = set()
        self._free_tokens: list[str] = []
        self._spent = self._reserved = NOTHING
        self._elsewhere: Living[Callable[[], Charge]] = Living()
        self._settled = asyncio.Event()  # a new one after each reservation that ends
        self._waiting = 0

    def __repr__(self) -> str:
        return f"Account({self.budget}, {self.statistics()})"

    @property
    def capped(self) -> bool:
        """Whether anything is capped."""
        return self.budget != UNCAPPED

    def statistics(self) -> AccountStatistics:
        """Where it stands."""
        return AccountStatistics(
            spent=self._spent, reserved=self._reserved, elsewhere=self._others(), waiting=self._waiting
        )

    def open_token(self) -> str:
        """Give a name to what one proposer spends, which is one of the `runs` for good."""
        try:
            return self._free_tokens.pop()
        except IndexError:
            token = uuid.uuid4().hex[:12]
            self.runs.add(token)
            return token

    def close_token(self, token: str) -> None:
        """Let another proposer have the name, since no study holds a sum under it."""
        self._free_tokens.append(token)

    def watch(self, study: Hashable, elsewhere: Callable[[], Charge]) -> None:
        """Count what others have spent on a study, for as long as somebody else keeps `elsewhere`.

        It is called for every request; the latest of a study counts.
        """
        self._elsewhere.add(study, elsewhere)

    async def reserve(self, worst: Charge) -> None:
        """Set `worst` aside; waits while only other reservations stand in the way.

        Raises `BudgetExhaustedError` if it would not fit even if the others cost nothing.
        """
        while self.capped and not self._fits(worst):
            self._waiting += 1
            try:
                await self._settled.wait()
            finally:
                self._waiting -= 1
        self._reserved += worst

    def settle(self, worst: Charge, spent: Charge) -> None:
        """End a reservation; `spent` is what the request really took."""
        self._reserved -= worst
        self._spent += spent
        self._settled.set()  # all look again, in their order: what one leaves may be enough for another
        self._settled = asyncio.Event()

    def proposals_left(self) -> int | None:
        """How many more proposals the budget pays for, if each takes one request like those before; None if unknown.

        Every study that spends through this account counts, and so does what others spent on it.
        """
        spent = self._spent + self._others()
        left = [] if self.budget.requests is None else [self.budget.requests - spent.requests]
        for cap, taken in ((self.budget.usd, spent.usd), (self.budget.tokens, spent.tokens)):
            if cap is not None and taken:
                left.append(int(spent.requests * (cap - taken) / taken))
        return max(1, min(left)) if left else None

    def _fits(self, worst: Charge) -> bool:
        known = self._spent + self._others()
        cap = first_exceeded_cap(self.budget, known + worst)
        if cap is not None:
            raise BudgetExhaustedError(_refusal(self.budget, cap, known, worst))
        return first_exceeded_cap(self.budget, known + self._reserved + worst) is None

    def _others(self) -> Charge:
        return sum((read() for read in self._elsewhere), NOTHING)


def _refusal(budget: Budget, cap: str, known: Charge, worst: Charge) -> str:
    """Why a request is not sent that would exceed this cap, after so much was spent."""
    end = f"and the next request may take {worst}; raise Budget({cap}=...) to go on"
    if not any(asdict(known).values()):
        return f"the budget ({_caps(budget)}) is too small for a first request: nothing is spent, {end}"
    used_up = getattr(known, cap) >= getattr(budget, cap) * (1 - ROUNDING)
    why = "is used up" if used_up else "has too little left for another request"
    return f"the budget ({_caps(budget)}) {why}: {known} are spent, {end}"


def _caps(budget: Budget) -> str:
    caps = (
        None if budget.usd is None else f"${budget.usd:g}",
        None if budget.tokens is None else counted(budget.tokens, "token"),
        None if budget.requests is None else counted(budget.requests, "request"),
    )
    return ", ".join(filter(None, caps))


@dataclass(slots=True, eq=False)
class BudgetedClient:
    """Sends through `client` what `account` can pay for; `spent` is what its own requests took.

    `on_spent` is told of each, and whether there was a reply.

    A request counts once it is sent; its tokens and dollars count when the reply says what they were, and in full
    where it does not say, or says what cannot be. `prices` are those of the client unless given. Raises
    `BudgetExhaustedError`, and `UsageError` if dollars are capped and prices unknown.
    """

    client: Client
    account: Account
    prices: Callable[[], Awaitable[Prices]] | None = None
    on_spent: Callable[[Charge, bool], None] = lambda charge, answered: None
    spent: Charge = NOTHING

    async def complete(self, request: Request) -> Reply:
        prices, worst = NO_PRICES, ONE_REQUEST
        if self.account.capped:
            prices = await (self.prices or capabilities_of(self.client).prices)()
            worst = self._worst(request, prices)
        await self.account.reserve(worst)
        spent, answered = ONE_REQUEST, False
        try:
            reply = credible(await self.client.complete(request))
            spent, answered = _charge_of(reply, prices) or worst, True
            return reply
        finally:
            self.account.settle(worst, spent)
            self.spent += spent
            self.on_spent(spent, answered)

    def _worst(self, request: Request, prices: Prices) -> Charge:
        if self.account.budget.usd is not None and not prices.known:
            raise UsageError(
                f"{_unpriced(self.client)}, or give prices, as in "
                "LiteLLMClient(..., extra={'input_cost_per_token': 1e-6, 'output_cost_per_token': 4e-6})"
            )
        prompt, completion = most_tokens(request), request.max_tokens + prices.extra_tokens
        return Charge(requests=1, tokens=prompt + completion, usd=prices.usd(prompt, completion))

    async def aclose(self) -> None:
        await self.client.aclose()


def require_prices(budget: Budget | None, client: Client) -> None:
    """Raise `UsageError` where dollars are capped, and the client has no prices to tell: before it loads a model."""
    if budget is not None and budget.usd is not None and capabilities_of(client).prices is unknown_prices:
        raise UsageError(_unpriced(client))


def _unpriced(client: Client) -> str:
    """Why dollars cannot be capped, and what can."""
    return (
        f"Budget(usd=...) needs to know what {client!r} costs, and nobody does: cap something else, with "
        "Budget(requests=...) or Budget(tokens=...), on the command line --budget-requests or --budget-tokens"
    )


def _charge_of(reply: Reply, prices: Prices) -> Charge | None:
    """What a reply says that it took; None if it does not say."""
    usage = reply.usage
    if usage is None:
        return None
    usd = prices.usd(usage.prompt_tokens, usage.completion_tokens) if usage.cost is None else usage.cost
    return Charge(requests=1, tokens=usage.prompt_tokens + usage.completion_tokens, usd=usd)
