"""A client within its budget: nothing is sent whose worst case the account could not bear."""

from collections.abc import Awaitable, Callable

from ...engine.errors import UsageError
from ...engine.records import Charge
from ..client.capabilities import Prices, capabilities_of
from ..client.protocol import Client, Reply, Request
from .budget import Account
from .token_estimate import most_tokens


class BudgetedClient:
    """Sends through `client` what `account` can pay for, and tells `on_charge` what each request took.

    A request counts once it is sent; its tokens and dollars count when the reply says what they were, and in full
    where it does not say. `prices` are those of the client unless given. Raises `BudgetExhaustedError`, and
    `UsageError` if dollars are capped and prices unknown.
    """

    def __init__(
        self,
        client: Client,
        account: Account,
        *,
        prices: Callable[[], Awaitable[Prices]] | None = None,
        on_charge: Callable[[Charge], object] | None = None,
    ) -> None:
        self.client = client
        self.account = account
        self._prices = prices or capabilities_of(client).prices
        self._on_charge = on_charge

    def __repr__(self) -> str:
        return f"BudgetedClient({self.client!r}, {self.account!r})"

    async def complete(self, request: Request) -> Reply:
        prices = await self._prices() if self.account.capped else Prices()
        worst = self._worst(request, prices)
        await self.account.reserve(worst)
        spent = Charge(requests=1)
        try:
            reply = await self.client.complete(request)
            spent = _charge_of(reply, prices) or worst
            return reply
        finally:
            self.account.settle(worst, spent)
            if self._on_charge is not None:
                self._on_charge(spent)

    def _worst(self, request: Request, prices: Prices) -> Charge:
        if not self.account.capped:
            return Charge(requests=1)
        if self.account.budget.usd is not None and not prices.known:
            raise UsageError(
                f"Budget(usd=...) needs to know what {self.client!r} costs, and nobody does: give prices, as in "
                "LiteLLMClient(..., extra={'input_cost_per_token': 1e-6, 'output_cost_per_token': 4e-6}), "
                "or cap tokens or requests instead"
            )
        prompt, completion = most_tokens(request), request.max_tokens + prices.extra_tokens
        return Charge(requests=1, tokens=prompt + completion, usd=prices.usd(prompt, completion))

    async def aclose(self) -> None:
        await self.client.aclose()


def _charge_of(reply: Reply, prices: Prices) -> Charge | None:
    """What a reply says that it took; None if it does not say."""
    usage = reply.usage
    if usage is None:
        return None
    usd = prices.usd(usage.prompt_tokens, usage.completion_tokens) if usage.cost is None else usage.cost
    return Charge(requests=1, tokens=usage.prompt_tokens + usage.completion_tokens, usd=usd)
