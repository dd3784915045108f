"""How much of a study a prompt shows."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from ...engine.arguments import number
from ...engine.errors import UsageError

FEWEST: Final = 500
"""The lowest ceiling, in tokens: with less there is no room for the trials."""

WORDS: Final = 2.5
"""Characters a token, in sentences."""

NUMBERS: Final = 1.5
"""And in tables: some tokenizers make a token of every digit."""

TAIL: Final = 0.25
"""Share of the ceiling for best rows, failures and what is in flight."""

ASK: Final = 300
"""Tokens of titles, of what is wanted, and of guidance, a third each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Characters that tables may take: the history, and all others together."""

    history: int
    tail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPolicy:
    """How much of the study a prompt shows; `failure_text` is what leaves the machine of a failed trial.

    `tokens` bounds the whole prompt, estimated on the safe side, and the others parts of it, in rows: `history` the
    finished trials (the newest, evicted in blocks), `best` the best rows repeated at the end, `failures` the reasons
    for which trials failed, `in_flight` the configurations being evaluated or proposed. What describes the task and
    the parameters is never cut: where that takes more than about half of the ceiling, the prompt is longer.
    `failure_text`: "message" (exception type and message, scrubbed), "type", or None. `rationale`: the model says why
    before it gives the values, in at most 40 words; these are tokens and seconds of every call.
    """

    tokens: int = 3500
    history: int = 100
    best: int = 3
    failures: int = 5
    in_flight: int = 64
    failure_text: Literal["message", "type"] | None = "message"
    rationale: bool = True

    def __post_init__(self) -> None:
        number("ContextPolicy(tokens=)", self.tokens, low=FEWEST, whole=True)
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
            tokens=max(FEWEST, self.tokens // 2),
            history=self.history // 2,
            in_flight=min(self.in_flight, max(8, self.in_flight // 2)),
        )

    def room(self, head: int, *, header: int = 0, said: int = 0) -> "Room":
        """What the ceiling leaves for tables beside `head` characters of words.

        Each table has a `header`, and guidance takes `said` characters. The history has at least a quarter of the
        ceiling, the tail an eighth.
        """
        tail = TAIL * self.tokens
        history = max(tail, self.tokens - tail - ASK - head / WORDS - header / NUMBERS)
        left = max(tail / 2, tail - 2 * header / NUMBERS - max(0.0, said / NUMBERS - ASK / 3))
        return Room(history=int(NUMBERS * history), tail=int(NUMBERS * left))
