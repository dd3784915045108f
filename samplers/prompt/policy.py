"""How much of a study a prompt shows."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from ...engine.arguments import number
from ...engine.errors import UsageError

# The lowest ceiling, in tokens: the rules alone take some 200, and with less than this there is no room for the trials.
LOWEST_CEILING: Final = 500

# Characters a token, on the safe side: in sentences, and in tables, since some tokenizers make a token of every digit.
CHARACTERS_IN_SENTENCES: Final = 2.5
CHARACTERS_IN_TABLES: Final = 1.5

# Share of the ceiling for best rows, failures and what is in flight. They are sent anew with every ask, while the
# history before them is a prefix that providers cache.
TAIL_SHARE: Final = 0.25

# Tokens of titles, of what is wanted, and of guidance, a third each.
REQUEST_TOKENS: Final = 300

# What `halved` leaves of the configurations in flight, at least: these few keep proposals apart.
FEWEST_IN_FLIGHT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterBudget:
    """Characters that tables may take: the history, and all others together."""

    history: int
    tail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPolicy:
    """How much of the study a prompt shows, and what leaves the machine of a failed trial.

    `tokens` bounds the whole prompt, estimated on the safe side. The others bound parts of it, in rows:

    * `history`: finished trials (the newest, evicted in blocks)
    * `best`: the best rows, repeated at the end
    * `failures`: reasons for which trials failed
    * `in_flight`: configurations that are being evaluated or proposed

    What describes the task and the parameters is never cut: where that takes more than about half of the ceiling, the
    prompt is longer. `failure_text`: "message" (exception type and message, scrubbed), "type", or None. `rationale`:
    the model says why before it gives the values, in at most 40 words; these are tokens and seconds of every call.
    Raises `UsageError` for what is no such number or choice.
    """

    tokens: int = 3500
    history: int = 100
    best: int = 3
    failures: int = 5
    in_flight: int = 64
    failure_text: Literal["message", "type"] | None = "message"
    rationale: bool = True

    def __post_init__(self) -> None:
        number("ContextPolicy(tokens=)", self.tokens, low=LOWEST_CEILING, whole=True)
        for name in ("history", "best", "failures", "in_flight"):
            number(f"ContextPolicy({name}=)", getattr(self, name), whole=True)
        if self.failure_text not in ("message", "type", None):
            raise UsageError(
                f"ContextPolicy(failure_text=) must be 'message', 'type' or None, not {self.failure_text!r}"
            )
        if not isinstance(self.rationale, bool):
            raise UsageError(f"ContextPolicy(rationale=) must be True or False, not {self.rationale!r}")

    def halved(self) -> "ContextPolicy":
        """The same with half the rows of history, for a model whose context is too short."""
        return replace(
            self,
            tokens=max(LOWEST_CEILING, self.tokens // 2),
            history=self.history // 2,
            in_flight=min(self.in_flight, max(FEWEST_IN_FLIGHT, self.in_flight // 2)),
        )

    def character_budget(self, head: int, *, header: int = 0, guidance: int = 0) -> CharacterBudget:
        """Characters left for tables after a head of `head` characters, under the token ceiling.

        Each table has a header of `header` characters, and guidance takes `guidance`. The history has at least a
        quarter of the ceiling, the tail an eighth.
        """
        tail = TAIL_SHARE * self.tokens
        headers = header / CHARACTERS_IN_TABLES
        history = max(tail, self.tokens - tail - REQUEST_TOKENS - head / CHARACTERS_IN_SENTENCES - headers)
        excess = max(0.0, guidance / CHARACTERS_IN_TABLES - REQUEST_TOKENS / 3)
        left = max(tail / 2, tail - 2 * header / CHARACTERS_IN_TABLES - excess)
        return CharacterBudget(history=int(CHARACTERS_IN_TABLES * history), tail=int(CHARACTERS_IN_TABLES * left))
