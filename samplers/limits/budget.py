"""What asking may cost in all: reserve the worst case, send, settle what it really took.

A cap bounds the sum of three: what others have spent on the account's studies, what is spent through it, and what it
has reserved.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields

from ...engine.arguments import number
from ...engine.errors import BudgetExhaustedError
from ...engine.records import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hard caps on what a study may spend on asking: US dollars, tokens (prompt and completion), requests.

    Spending is kept in the study, so a cap holds over restarts. None: no cap.
    """

    usd: float | None = None
    tokens: int | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            number(f"Budget({field.name}=)", getattr(self, field.name), optional=True)


NOTHING = Charge()

# Sums of many small dollar amounts round: a cap is not exceeded by the last digits of a float.
ROUNDING = 1e-9


def first_exceeded_cap(budget: Budget, total: Charge) -> str | None:
    """The name of the first cap that `total` is above, None if it is within all."""
    caps = {"usd": budget.usd, "tokens": budget.tokens, "requests": budget.requests}
    above = (name for name, cap in caps.items() if cap is not None and getattr(total, name) > cap * (1 + ROUNDING))
    return next(above, None)


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
        self._spent = self._reserved = NOTHING
        self._elsewhere: dict[Hashable, Callable[[], Charge]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"Account({self.budget}, {self.statistics()})"

    @property
    def capped(self) -> bool:
        """Whether anything is capped."""
        return self.budget != Budget()

    def statistics(self) -> AccountStatistics:
        """Where it stands."""
        return AccountStatistics(
            spent=self._spent, reserved=self._reserved, elsewhere=self._others(), waiting=len(self._waiting)
        )

    def watch(self, study: Hashable, elsewhere: Callable[[], Charge]) -> None:
        """Count what others have spent on a study: `elsewhere` is called for every request, the latest counts."""
        self._elsewhere[study] = elsewhere

    async def reserve(self, worst: Charge) -> None:
        """Set `worst` aside; waits while only other reservations stand in the way.

        Raises `BudgetExhaustedError` if it would not fit even if the others cost nothing.
        """
        while not self._fits(worst):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                raise
        self._reserved += worst

    def settle(self, worst: Charge, spent: Charge) -> None:
        """End a reservation; `spent` is what the request really took."""
        self._reserved -= worst
        self._spent += spent
        self._wake()

    def _fits(self, worst: Charge) -> bool:
        known = self._spent + self._others()
        cap = first_exceeded_cap(self.budget, known + worst)
        if cap is not None:
            raise BudgetExhaustedError(
                f"the budget ({_caps(self.budget)}) is used up: {known} are spent, and the next request may take "
                f"{worst}; raise Budget({cap}=...) to go on"
            )
        return first_exceeded_cap(self.budget, known + self._reserved + worst) is None

    def _others(self) -> Charge:
        return sum((read() for read in self._elsewhere.values()), NOTHING)

    def _wake(self) -> None:
        """Have all look again, in their order: what one leaves may be enough for another."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


def _caps(budget: Budget) -> str:
    words = {"usd": "${:g}", "tokens": "{} tokens", "requests": "{} requests"}
    caps = {name: getattr(budget, name) for name in words}
    return ", ".join(words[name].format(cap) for name, cap in caps.items() if cap is not None)
