"""Our loggers: they keep their names, and hang below Optuna's, so that its handler, format and verbosity hold."""

import logging

import optuna

OURS = "optuna_llm"


def get_logger(name: str) -> logging.Logger:
    """The logger `name`, which begins with `optuna_llm`; it says what `optuna.logging` lets through, where that goes.

    `logging.getLogger("optuna_llm").setLevel(...)` sets a verbosity for our lines alone.
    """
    logging.getLogger(OURS).parent = optuna.logging.get_logger("optuna")
    return logging.getLogger(name)
