"""From a context to chat messages: the stable part first, what changes with every ask last."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...engine.records import EMPTY
from ..space.space import Space
from .context import Context
from .tail import render_table, render_tail

Message = dict[str, str]

# Characters of a wrong reply that are shown again: enough for any right one of fifty parameters.
MAX_REPLY = 2000
NO_REPLY = "(nothing)"  # some providers refuse empty messages


def render(
    context: Context,
    columns: Space,
    head: str,
    fixed: Mapping[str, Any] = EMPTY,
    *,
    summary: Sequence[str] = (),
    words: str = "",
) -> list[Message]:
    """The chat messages of one ask: the head; then history; then this moment.

    Trials are shown with all `columns`, of which some may be `fixed`. `summary` and `words` are what guidance adds: at
    the end, because they change with every ask.
    """
    parts = [_history(context, columns), *render_tail(context, columns, fixed, summary, words)]
    return [{"role": "system", "content": head}, {"role": "user", "content": "\n\n".join(filter(None, parts))}]


def render_reask(messages: Sequence[Mapping[str, str]], reply: str, violations: Sequence[str]) -> list[Message]:
    """The same messages, the reply that was wrong, and what was wrong with it."""
    wrong = "\n".join(f"- {violation}" for violation in violations)
    request = f"That reply cannot be used:\n{wrong}\nAnswer again with one complete JSON object."
    return [
        *map(dict, messages),
        {"role": "assistant", "content": reply[:MAX_REPLY] or NO_REPLY},
        {"role": "user", "content": request},
    ]


def _history(context: Context, columns: Space) -> str:
    if not context.history:
        return f"# Finished trials\n{f'all {context.omitted} are left out' if context.omitted else 'none yet'}"
    omitted = f" (the oldest {context.omitted} are left out)" if context.omitted else ""
    return f"# Finished trials, oldest first{omitted}\n{render_table(context.history, context.names, columns)}"
