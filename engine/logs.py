"""What is said to people: where lines of a log go, and how many there are of a thing.

Our loggers keep their names, and hang below Optuna's, so that its handler, format and verbosity hold.
"""

import logging
from typing import Final

import optuna

OURS = "optuna_llm"

_said: Final[set[str]] = set()  # by `say_once`; two threads that begin at once say it twice, and no harm is done


def get_logger(name: str) -> logging.Logger:
    """The logger `name`, which begins with `optuna_llm`; it says what `optuna.logging` lets through, where that goes.

    `logging.getLogger("optuna_llm").setLevel(...)` sets a verbosity for our lines alone.
    """
    logging.getLogger(OURS).parent = optuna.logging.get_logger("optuna")
    return logging.getLogger(name)


def say_once(logger: logging.Logger, line: str) -> None:
    """Say a line at INFO, unless this process has said it."""
    if line not in _said:
        _said.add(line)
        logger.info("%s", line)


def counted(number: int, noun: str) -> str:
    """So many of a thing whose plural ends in s: "1 call", "0 calls", "2 calls"."""
    return f"{number} {noun if number == 1 else f'{noun}s'}"
