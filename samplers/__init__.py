"""Thinks: from a snapshot of the study to one complete configuration."""

from .llm_guided import LLMGuidedSampler
from .policy import ContextPolicy

__all__ = ["ContextPolicy", "LLMGuidedSampler"]
