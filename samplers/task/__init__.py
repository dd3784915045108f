"""What a model is told of the thing that is tuned: the user's words, and facts taken from an objective or from data."""

from .description import describe
from .parts import task_text

__all__ = ["describe", "task_text"]
