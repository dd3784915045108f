"""What the model is shown of a study, rebuilt from a view on every ask."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from optuna.trial import FrozenTrial

from ...engine.foreign_text import clean
from ...engine.records import EMPTY
from ...engine.study.attributes import FAILURE_ATTRIBUTE
from ..space.notation import quote, redact
from ..view.rows import Row
from ..view.view import View
from .policy import ContextPolicy

T = TypeVar("T")

# Rows are evicted in blocks, so that the prompt keeps its prefix in between: providers cache it. The history is at
# least so many blocks, if its room allows, so that a model loses no more than a quarter of it at once.
BLOCK = 25
BLOCKS = 4
CELL_WIDTH = 8  # characters, about

# Failed trials that are searched for reasons: the newest ones, since old reasons may have been mended.
SEARCHED_FAILURES = 50
MAX_FAILURE = 160  # characters of a reason
MAX_NUMBERS = 5  # trials that failed for one reason, named by number
MAX_FAILURE_TYPE = 60


class FailureLine(NamedTuple):
    """Trials that failed for one reason, by number, and the reason."""

    numbers: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything of a study that a prompt is made of.

    Rows of `history` are in order of completion, those of `best` best last, `failures` newest reason last. `in_flight`
    are rows of the `running` configurations. This ask is the one at `position` (from 1) of the `asking` that are open
    at this moment, None where that does not matter; `proposals_left` are to come, None where no end is known.
    """

    names: tuple[str, ...]
    running: int
    history: tuple[Row, ...]
    omitted: int
    best: tuple[Row, ...]
    failures: tuple[FailureLine, ...]
    in_flight: tuple[Row, ...]
    asking: int
    position: int | None
    proposals_left: int | None


def build_context(
    view: View,
    policy: ContextPolicy,
    head: int = 0,
    *,
    guidance: int = 0,
    own: int | None = None,
    position: int | None = None,
    proposals_left: int | None = None,
) -> Context:
    """What a prompt shows of the study beside a head of `head` characters, and guidance of `guidance`.

    Long guidance takes room from the tail alone: the borders of the history are to follow from the study. `own` is the
    number of the trial that asks, if there is one; `position` and `proposals_left` are as in `Context`.
    """
    finished = view.finished
    header = sum(map(len, finished.names)) + len(finished.names)
    budget = policy.character_budget(head, header=header, guidance=guidance)
    block = block_size(len(finished.names), budget.history, policy.history)
    first = math.ceil(finished.first_within(policy.history, budget.history) / block) * block
    in_flight = [entry for entry in view.in_flight if own is None or entry.number != own]
    best = _rows_within(finished.best(policy.best), budget.tail // 2)
    failures = _failure_lines(finished.failed, policy, budget.tail // 3)
    left = budget.tail - sum(len(row.line) for row in best) - sum(map(_length, failures))
    return Context(
        names=finished.names,
        running=len(in_flight),
        history=tuple(finished.rows(first)),
        omitted=min(finished.known, first),
        best=tuple(reversed(best)),
        failures=tuple(reversed(failures)),
        in_flight=tuple(_rows_within([entry.row for entry in in_flight[: policy.in_flight]], left)),
        asking=max(position or 0, view.snapshot.asking),
        position=position,
        proposals_left=proposals_left,
    )


def block_size(parameters: int, length: int, rows: int) -> int:
    """How many rows are evicted at once: by space and policy alone, so that the borders follow from the study."""
    return max(1, min(BLOCK, rows // BLOCKS, length // (BLOCKS * CELL_WIDTH * (parameters + 2))))


def _within(items: Sequence[T], lengths: Sequence[int], limit: int) -> list[T]:
    """The first items whose lengths add up to `limit` at most; at least one."""
    ends = itertools.accumulate(lengths)
    return [item for index, (item, end) in enumerate(zip(items, ends, strict=True)) if end <= limit or not index]


def _rows_within(rows: Sequence[Row], limit: int) -> list[Row]:
    return _within(rows, [len(row.line) + 1 for row in rows], limit)


def _failure_lines(failed: Sequence[FrozenTrial], policy: ContextPolicy, limit: int) -> list[FailureLine]:
    """The newest reasons on record for which trials failed, newest first; at least one, within `limit` characters."""
    if policy.failure_text is None or not policy.failures:
        return []
    reasons: dict[str, list[int]] = {}
    for trial in reversed(failed[-SEARCHED_FAILURES:]):
        if (reason := _reason(trial, policy)) is not None:
            reasons.setdefault(reason, []).append(trial.number)
    lines = [FailureLine(_numbers(numbers), reason) for reason, numbers in reasons.items()][: policy.failures]
    return _within(lines, [_length(line) for line in lines], limit)


def _length(line: FailureLine) -> int:
    return len(line.numbers) + len(line.reason)


def _numbers(newest_first: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in reversed(newest_first[:MAX_NUMBERS]))
    more = len(newest_first) - MAX_NUMBERS
    return f"{shown} and {more} more" if more > 0 else shown


def _reason(trial: FrozenTrial, policy: ContextPolicy) -> str | None:
    """Why a trial failed, None where nobody recorded it, as plain Optuna does not."""
    failure = trial.user_attrs.get(FAILURE_ATTRIBUTE, EMPTY)
    if not isinstance(failure, Mapping) or not failure:
        return None
    kind = clean(str(failure.get("type", "failure")), MAX_FAILURE_TYPE)
    message = str(failure.get("message", ""))
    if policy.failure_text == "type" or not message:
        return kind
    return f"{kind}: {quote(redact(message), MAX_FAILURE)}"
