"""What the model is shown of a study, rebuilt from a snapshot on every ask."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.records import EMPTY, FAILURE_ATTRIBUTE
from ...engine.study.snapshot import Snapshot
from ..space.untrusted import clean, quote, redact
from ..view.finished_rows import Digest, Row
from ..view.in_flight_rows import Flight
from .policy import ContextPolicy

BLOCK = 25  # rows are evicted in blocks, so that the prompt keeps its prefix in between
BLOCKS = 4  # the history is at least so many blocks, if its room allows
MAX_FAILURE = 160
WIDTH = 8  # characters of a cell, about
LOOKED_AT = 50  # failed trials, the newest ones
MAX_NUMBERS = 5  # trials that failed for one reason, named by number


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many trials of each kind a context was built from."""

    complete: int
    pruned: int
    failed: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything of a study that a prompt is made of.

    Rows of `history` are in order of completion, those of `best` best last; `failures` are numbers and a reason each.
    """

    names: tuple[str, ...]
    direction: StudyDirection
    counts: Counts
    history: tuple[Row, ...]
    omitted: int
    best: tuple[Row, ...]
    failures: tuple[tuple[str, str], ...]
    in_flight: tuple[Row, ...]
    others_asking: int


def build_context(
    snapshot: Snapshot,
    digest: Digest,
    flight: Flight,
    policy: ContextPolicy,
    head: int = 0,
    *,
    said: int = 0,
    own: int | None = None,
) -> Context:
    """What a prompt shows of the study beside a head of so many characters.

    `said` is the length of what guidance adds: where that is long, the tail has less room; the history has always the
    same, since its borders are to follow from the study. `own` is the number of the trial that asks, if there is one.
    `digest` and `flight` may be new or have seen earlier snapshots.
    """
    digest.update(snapshot.finished)
    room = policy.room(head, header=sum(map(len, digest.names)) + len(digest.names), said=said)
    block = block_size(len(digest.names), room.history, policy.history)
    first = min(digest.known, math.ceil(digest.first_within(policy.history, room.history) / block) * block)
    in_flight = [entry.row for entry in flight.update(snapshot) if own is None or entry.number != own]
    best = within(digest.best(policy.best), room.tail // 2)
    failures = failure_lines(digest.failed, policy, room.tail // 3)
    used = sum(len(row.line) for row in best) + sum(map(len, itertools.chain(*failures)))
    return Context(
        names=digest.names,
        direction=digest.direction,
        counts=Counts(
            complete=digest.counts[TrialState.COMPLETE],
            pruned=digest.counts[TrialState.PRUNED],
            failed=digest.counts[TrialState.FAIL],
            running=len(in_flight),
        ),
        history=tuple(digest.rows(first)),
        omitted=first,
        best=tuple(reversed(best)),
        failures=failures,
        in_flight=tuple(within(in_flight[: policy.in_flight], room.tail - used)),
        others_asking=max(0, snapshot.asking - 1),
    )


def block_size(parameters: int, length: int, rows: int) -> int:
    """How many rows are evicted at once: by space and policy alone, so that the borders follow from the study."""
    return max(1, min(BLOCK, rows // BLOCKS, length // (BLOCKS * WIDTH * (parameters + 2))))


def within(rows: Sequence[Row], length: int) -> list[Row]:
    """The first rows that fit into so many characters; at least one."""
    ends = itertools.accumulate(len(row.line) + 1 for row in rows)
    return [row for index, (row, end) in enumerate(zip(rows, ends, strict=True)) if end <= length or not index]


def failure_lines(failed: Sequence[FrozenTrial], policy: ContextPolicy, length: int) -> tuple[tuple[str, str], ...]:
    """Numbers and reason of failed trials, the newest reasons, the last one last; at least one, and within `length`."""
    if policy.failure_text is None or not policy.failures:
        return ()
    reasons: dict[str, list[int]] = {}
    for trial in reversed(failed[-LOOKED_AT:]):
        reasons.setdefault(_reason(trial, policy), []).append(trial.number)
    lines = [(_numbers(numbers), reason) for reason, numbers in reasons.items()][: policy.failures]
    ends = itertools.accumulate(len(numbers) + len(reason) for numbers, reason in lines)
    shown = [line for index, (line, end) in enumerate(zip(lines, ends, strict=True)) if end <= length or not index]
    return tuple(reversed(shown))


def _numbers(newest_first: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in reversed(newest_first[:MAX_NUMBERS]))
    more = len(newest_first) - MAX_NUMBERS
    return f"{shown} and {more} more" if more > 0 else shown


def _reason(trial: FrozenTrial, policy: ContextPolicy) -> str:
    failure = trial.user_attrs.get(FAILURE_ATTRIBUTE, EMPTY)
    if not isinstance(failure, Mapping) or not failure:
        return "no reason recorded"
    kind = clean(str(failure.get("type", "failure")), 60)
    message = str(failure.get("message", ""))
    if policy.failure_text == "type" or not message:
        return kind
    return f"{kind}: {quote(redact(message), MAX_FAILURE)}"
