"""Async, batch-parallel optimization: an LLM proposes every Optuna trial, within rate limits and a budget."""

__all__: list[str] = []
