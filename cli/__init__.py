"""The command `optuna-llm`. Imports the rest; nothing imports it."""

from .main import main

__all__ = ["main"]
