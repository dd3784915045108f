"""The tail of a prompt, which changes with every ask: best rows, failures, what is in flight, and what is wanted."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..space.space import Space
from ..space.untrusted import quoted
from ..view.finished_rows import MISSING, Row, cell
from .context import Context
from .head import MAX_NAME


def render_tail(
    context: Context, columns: Space, fixed: Mapping[str, Any], summary: Sequence[str], words: str
) -> list[str]:
    """The paragraphs of the tail; `summary` and `words` are what guidance adds."""
    parts = [_legend(context)]
    if context.best:
        parts.append(f"# Best so far, best last\n{render_table(context.best, context.names, columns)}")
    if context.failures:
        parts.append("# Why trials failed\n" + "\n".join(f"{line.numbers}: {line.reason}" for line in context.failures))
    if context.in_flight:
        hidden = context.counts.running - len(context.in_flight)
        more = f" ({hidden} more are not shown)" if hidden else ""
        table = render_table(context.in_flight, context.names, columns)
        parts.append(f"# In flight, no value yet{more}; propose something else\n{table}")
    if summary:
        parts.append("# What the trials show\n" + "\n".join(summary))
    wanted = [_goal(context), _others(context, guided=bool(words)), _fixed(fixed, columns), words]
    return [*parts, " ".join(filter(None, wanted))]


def render_table(rows: Sequence[Row], names: Sequence[str], columns: Space) -> str:
    """Rows under a header of keys."""
    header = ",".join(["trial", "value", *(columns.keys.get(name, name) for name in names)])
    return "\n".join([header, *(row.line for row in rows)])


def _legend(context: Context) -> str:
    """What the marks in the tables mean, of those that there are."""
    rows = (*context.history, *context.best, *context.in_flight)
    absent = any(MISSING in row.cells for row in rows)
    curves = any("[" in row.result for row in rows)
    meanings = [f"{MISSING} is a parameter that a trial does not have"] * absent
    meanings += ["[step:value ...] are values on the way"] * curves
    return f"In the tables, {' and '.join(meanings)}." if meanings else ""


def _goal(context: Context) -> str:
    goal = "expect to beat the best one" if context.best else "expect to do well"
    return f"Propose one configuration that you {goal}."


def _others(context: Context, *, guided: bool) -> str:
    if not context.others_asking:
        return ""
    others = "another proposal is" if context.others_asking == 1 else f"{context.others_asking} other proposals are"
    # Asks with guidance have regions that differ already.
    differ = "" if guided else "; make yours different from the most obvious choice"
    return f"At this moment {others} being computed{differ}."


def _fixed(fixed: Mapping[str, Any], columns: Space) -> str:
    values = ", ".join(_assignment(name, value, columns) for name, value in fixed.items())
    return f"It goes with these fixed values: {values}." if fixed else ""


def _assignment(name: str, value: Any, columns: Space) -> str:
    if name in columns.distributions:
        return f"{columns.keys[name]} = {cell(value, columns.distributions[name])}"
    return f"{quoted(name, MAX_NAME)} = {quoted(str(value), MAX_NAME)}"
