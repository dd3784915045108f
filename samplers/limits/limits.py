"""What a provider, or the user, allows in a minute and at once."""

from dataclasses import dataclass

from ...engine.arguments import number


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
            number(f"Limits({name}=)", getattr(self, name), positive=True, optional=True)
        number("Limits(max_in_flight=)", self.max_in_flight, positive=True, whole=True, optional=True)
