"""Why runs stopped, in words for people."""

from typing import Final

from ..engine.foreign_text import clean

REASON_WORDS: Final = {
    "n_trials": "all trials of this run were made",
    "total_trials": "the study has all its trials",
    "occupied": "trials that nobody is known to run hold the last places",
    "timeout": "its time was over",
    "stop": "study.stop() was called",
    "budget": "the budget does not pay for another request",
    "exhausted": "every configuration has been tried",
    "max_failure_rate": "too many trials failed",
    "all_failed": "its first trials all failed in the same way",
    "running": "it is running",
    "died": "its process ended without a word, as one that is killed does",
    "unknown": "it left no word: killed, or at work elsewhere",
}
REASON_LENGTH: Final = 80


def ending(reason: str) -> str:
    """The reason as it is stored, and what it means; not escaped."""
    words = REASON_WORDS.get(reason)
    return f"{reason}: {words}" if words else clean(reason, REASON_LENGTH)
