"""What is counted over trials: how proposals went, role by role, what failed, and what was spent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from ..engine.records import Charge

Row = Mapping[str, Any]

OTHERS: Final = "not from the model"  # in the place of a role
UNNAMED: Final = "no reason on record"  # in the place of a failure's type


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposing:
    """How proposals went: counts over the trials that a model proposed; `staleness` is a mean."""

    proposed: int
    calls: int
    reasks: int
    repairs: int
    duplicates: int
    menus: int
    staleness: float | None
    stalest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTally:
    """What came of the trials of one role; `improvements` are those that were better than all that ended before."""

    role: str
    trials: int
    improvements: int
    proposing: Proposing


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTally:
    """Failed trials of one type of failure; `number` and `message` are those of the last one."""

    kind: str
    count: int
    number: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What all calls took, those that no trial has on record included; `cost` in US dollars counts what is known."""

    cost: float
    tokens: int
    calls: int
    unknown: int
    """Trials of which nobody knows what they cost."""


def proposing_of(rows: Iterable[Row]) -> Proposing:
    """Count over the trials that a model proposed."""
    proposed = [row for row in rows if row["calls"]]
    stale = [row["staleness"] for row in proposed if row["staleness"] is not None]
    return Proposing(
        proposed=len(proposed),
        calls=sum(row["calls"] for row in proposed),
        reasks=sum(row["reasks"] or 0 for row in proposed),
        repairs=sum(row["repairs"] or 0 for row in proposed),
        duplicates=sum(row["duplicate_of"] is not None for row in proposed),
        menus=sum(row["form"] == "menu" for row in proposed),
        staleness=fmean(stale) if stale else None,
        stalest=int(max(stale, default=0)),
    )


def roles_of(rows: Sequence[Row], improved: Iterable[int]) -> list[RoleTally]:
    """Count role by role, in the order in which they first came; `improved` are the numbers of improvements."""
    better = frozenset(improved)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["role"] if isinstance(row["role"], str) else OTHERS, []).append(row)
    return [
        RoleTally(
            role=role,
            trials=len(group),
            improvements=sum(row["number"] in better for row in group),
            proposing=proposing_of(group),
        )
        for role, group in groups.items()
    ]


def failures_of(rows: Iterable[Row]) -> list[FailureTally]:
    """Count failed trials by type of failure, the most frequent first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] == "FAIL":
            groups.setdefault((row["failure"] or UNNAMED).partition(": ")[0], []).append(row)
    tallies = [
        FailureTally(
            kind=kind,
            count=len(group),
            number=group[-1]["number"],
            message=(group[-1]["failure"] or "").partition(": ")[2],
        )
        for kind, group in groups.items()
    ]
    return sorted(tallies, key=lambda tally: -tally.count)


def spending_of(rows: Sequence[Row], others: Iterable[Charge]) -> Spending:
    """Add up what trials took, and what no trial has on record."""
    charges = list(others)
    return Spending(
        cost=sum(row["cost"] or 0.0 for row in rows) + sum(charge.usd for charge in charges),
        tokens=sum(row["tokens"] or 0 for row in rows) + sum(charge.tokens for charge in charges),
        calls=sum(row["calls"] or 0 for row in rows) + sum(charge.requests for charge in charges),
        unknown=sum(bool(row["calls"]) and row["cost"] is None for row in rows),
    )
