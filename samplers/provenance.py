"""What stays on record of a proposal: the user attribute `llm`, a JSON object under 4 kB."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..engine.records import EMPTY, as_amount, as_count, as_list
from .client.protocol import Reply, Usage
from .prompt.context import Counts
from .space.untrusted import clean

SCHEMA_VERSION = 1
MAX_BYTES = 3900  # the door adds staleness and run
MAX_REPAIRS = 12
MAX_REPAIR = 100


@dataclass(slots=True)
class Spent:
    """What the calls of one proposal took so far. Tokens and cost are None as soon as one call's are unknown."""

    calls: int = 0
    latency: float = 0.0
    usage: Usage | None = field(default_factory=lambda: Usage(prompt_tokens=0, completion_tokens=0, cost=0.0))

    def add(self, reply: Reply, seconds: float = 0.0) -> None:
        """Count one reply; `seconds` stand in for a latency that the client did not measure."""
        self.calls += 1
        self.latency += seconds if reply.latency is None else reply.latency
        self.usage = add_usage(self.usage, reply.usage)


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """The sum; what is unknown stays unknown."""
    if one is None or other is None:
        return None
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        cost=None if one.cost is None or other.cost is None else one.cost + other.cost,
    )


def provenance(
    *,
    model: str,
    role: str,
    rationale: str | None,
    counts: Counts,
    repairs: Sequence[str],
    spent: Spent,
    duplicate_of: int | str | None = None,
    earlier: Mapping[str, Any] | None = None,
    guidance: Mapping[str, Any] = EMPTY,
) -> dict[str, Any]:
    """The attribute of one proposal; `earlier` is the same trial's attribute from calls before this one."""
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": clean(model, 200),
        "rationale": rationale,
        "role": role,
        **guidance,
        "context": asdict(counts),
        "calls": spent.calls,
        "reasks": max(0, spent.calls - 1),
        "repairs": [clean(repair, MAX_REPAIR) for repair in repairs[:MAX_REPAIRS]],
        "duplicate_of": duplicate_of,
        "usage": None if spent.usage is None or not spent.calls else asdict(spent.usage),
        "latency": round(spent.latency, 4),
    }
    return fit(_joined(earlier, record) if earlier else record)


def fit(record: dict[str, Any]) -> dict[str, Any]:
    """Shorten the rationale, then the repairs, until the record is under its size."""
    while len(json.dumps(record)) > MAX_BYTES:
        if record["rationale"] and len(record["rationale"]) > 40:
            record["rationale"] = clean(record["rationale"], len(record["rationale"]) * 2 // 3)
        elif record["repairs"]:
            record["repairs"] = record["repairs"][:-1]
        else:
            return record
    return record


def _joined(earlier: Mapping[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Calls before are added; users and other tools may have written `earlier`."""
    total = add_usage(_usage(earlier.get("usage")), _usage(later["usage"]))
    rationale = earlier.get("rationale")
    return {
        **earlier,
        "rationale": rationale if isinstance(rationale, str) and rationale else later["rationale"],
        "calls": as_count(earlier.get("calls")) + later["calls"],
        "reasks": as_count(earlier.get("reasks")) + later["reasks"],
        "repairs": [*as_list(earlier.get("repairs")), *later["repairs"]][:MAX_REPAIRS],
        "usage": None if total is None else asdict(total),
        "latency": round((as_amount(earlier.get("latency")) or 0.0) + later["latency"], 4),
    }


def _usage(recorded: Any) -> Usage | None:
    if not isinstance(recorded, Mapping):
        return None
    return Usage(
        prompt_tokens=as_count(recorded.get("prompt_tokens")),
        completion_tokens=as_count(recorded.get("completion_tokens")),
        cached_tokens=as_count(recorded.get("cached_tokens")),
        cost=as_amount(recorded.get("cost")),
    )
