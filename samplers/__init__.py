"""Thinks: from a snapshot of the study to one complete configuration."""

from .guidance import Guidance, Situation, Strategy
from .llm_guided import LLMGuidedSampler
from .prompt.policy import ContextPolicy

__all__ = ["ContextPolicy", "Guidance", "LLMGuidedSampler", "Situation", "Strategy"]
