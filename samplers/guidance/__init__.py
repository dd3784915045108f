"""What each ask is told beyond the history: facts about the trials, and candidates where the model needs them."""

from .strategies import strategy_named
from .strategy import Guidance, InFlightConfiguration, OpenAsk, Situation, Strategy

__all__ = ["Guidance", "InFlightConfiguration", "OpenAsk", "Situation", "Strategy", "strategy_named"]
