"""Computed by code: what each ask is for, where it looks, and what the trials so far show."""

from .chosen import chosen
from .strategy import Guidance, Situation, Strategy

__all__ = ["Guidance", "Situation", "Strategy", "chosen"]
