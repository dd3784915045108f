"""Thinks: from a snapshot of the study to one complete configuration.

`LLMGuidedSampler` has a `StudyProposer` for each study, which sends each `Ask` through the pipeline: a view of the
study, guidance, prompt, client, verdict on the reply, and its record, the attribute `llm`.
"""

from .guidance import Guidance, InFlightConfiguration, OpenAsk, Situation, Strategy
from .llm_guided import LLMGuidedSampler
from .prompt.policy import ContextPolicy
from .task import describe
from .view.evidence import Best, Evidence, TrialWindow

__all__ = [
    "Best",
    "ContextPolicy",
    "Evidence",
    "Guidance",
    "InFlightConfiguration",
    "LLMGuidedSampler",
    "OpenAsk",
    "Situation",
    "Strategy",
    "TrialWindow",
    "describe",
]
