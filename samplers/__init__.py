"""Thinks: from a snapshot of the study to one complete configuration."""

from .context import ContextPolicy
from .llm_guided import LLMGuidedSampler

__all__ = ["ContextPolicy", "LLMGuidedSampler"]
