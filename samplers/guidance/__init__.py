"""What each ask is told beyond the history: its role, where to look, and what the trials so far show."""

from .strategies import strategy_named
from .strategy import Guidance, Situation, Strategy

__all__ = ["Guidance", "Situation", "Strategy", "strategy_named"]
