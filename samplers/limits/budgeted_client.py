"""A client within its budget: nothing is sent whose worst case the account could not bear."""

from collections.abc import Callable
from dataclasses import replace

from ...engine.errors import UsageError
from ...engine.records import Charge
from ..client.prices import Prices, prices_of
from ..client.protocol import Client, Reply, Request
from .budget import Account
from .token_estimate import most_tokens

SPENT = "spent"
"""Metadata: a function that is told what each request of one ask took."""


class BudgetedClient:
    """Sends through `client` what `account` can pay for.

    A request counts once it is sent; its tokens and dollars count when the reply says what they were, and in full
    where it does not say. Raises `BudgetExhaustedError`, and `UsageError` if dollars are capped and prices unknown.
    """

    def __init__(self, client: Client, account: Account) -> None:
        self.client = client
        self.account = account
        self._prices: Prices | None = None

    def __repr__(self) -> str:
        return f"BudgetedClient({self.client!r}, {self.account!r})"

    async def complete(self, request: Request) -> Reply:
        worst = await self._worst(request)
        await self.account.reserve(worst)
        spent = Charge(requests=1)
        try:
            reply = await self.client.complete(_plain(request))
            spent = self._spent(reply, worst)
            return reply
        finally:
            self.account.settle(worst, spent)
            tell: Callable[[Charge], None] | None = request.metadata.get(SPENT)
            if tell is not None:
                tell(spent)

    async def _worst(self, request: Request) -> Charge:
        if not self.account.capped:
            return Charge(requests=1)
        if self._prices is None:
            self._prices = await prices_of(self.client)
        if self.account.budget.usd is not None and not self._prices.known:
            raise UsageError(
                f"Budget(usd=...) needs to know what {self.client!r} costs, and nobody does: give prices, as in "
                "LiteLLMClient(..., extra={'input_cost_per_token': 1e-6, 'output_cost_per_token': 4e-6}), "
                "or cap tokens or requests instead"
            )
        prompt, completion = most_tokens(request), request.max_tokens + self._prices.extra_tokens
        return Charge(requests=1, tokens=prompt + completion, usd=self._prices.usd(prompt, completion))

    def _spent(self, reply: Reply, worst: Charge) -> Charge:
        usage = reply.usage
        if usage is None:
            return worst if self.account.capped else Charge(requests=1)
        usd = usage.cost
        if usd is None:
            usd = (self._prices or Prices()).usd(usage.prompt_tokens, usage.completion_tokens)
        return Charge(requests=1, tokens=usage.prompt_tokens + usage.completion_tokens, usd=usd)

    async def aclose(self) -> None:
        await self.client.aclose()


def _plain(request: Request) -> Request:
    return replace(request, metadata={name: value for name, value in request.metadata.items() if name != SPENT})
