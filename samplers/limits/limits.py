"""What a provider, or the user, allows in a minute and at once."""

import math
from dataclasses import dataclass

from ...engine.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Rates that hold for one client over everything that uses it in this process; None: no limit.

    `requests_per_minute` and `tokens_per_minute` (prompt and completion together) are spread evenly, so that no window
    of a minute exceeds them; a burst is at most a twentieth of a second's worth. `max_in_flight` bounds the requests
    that are open at once; fewer are, for a while, after the provider has refused one.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not _positive(value):
                raise UsageError(f"Limits({name}=) must be a positive number or None, not {value!r}")
        most = self.max_in_flight
        if most is not None and not (_positive(most) and isinstance(most, int)):
            raise UsageError(f"Limits(max_in_flight=) must be a positive whole number or None, not {most!r}")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
