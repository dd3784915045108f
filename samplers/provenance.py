"""What stays on record of a proposal: the user attribute `llm`, a JSON object under 4 kB, written and read here.

schema_version, model, rationale, role                        what was proposed, and why
strategy, form, reason                                        how the ask was guided: "plain" or "menu", and why
context {complete, pruned, failed, running}                   trials that the prompt was built from
calls, reasks, repairs, duplicate_of, usage {...}, latency    what it took
staleness, run, worker                                        added by the engine when the trial is created
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..engine.foreign_text import clean
from ..engine.records import EMPTY
from ..engine.study.attributes import MAX_REPAIRS, as_amount, as_count, as_list, llm_of
from .client.protocol import Reply, Usage

SCHEMA_VERSION = 1

# The roles that stand on trials: what a proposal was asked to do for the study.
PROPOSE: Final = "propose"
FIRST_GUESS: Final = "first guess"
EXPLORE: Final = "explore"
REFINE: Final = "refine"
COMBINE: Final = "combine"
DISCOVERY: Final = "discovery"

# Under the 4 kB that the attribute promises, since the engine adds `staleness`, `run` and `worker`.
MAX_RECORD_BYTES = 3900

MAX_REPAIR_LENGTH = 100
MAX_MODEL_LENGTH = 200
MAX_STRATEGY_LENGTH = 40
MAX_REASON_LENGTH = 100

# Characters of a rationale that are kept until repairs are dropped instead.
SHORTEST_RATIONALE = 40


# -- writing


def provenance(
    *,
    model: str,
    role: str,
    rationale: str | None,
    counts: Mapping[str, int],
    repairs: Sequence[str],
    replies: Sequence[Reply] = (),
    duplicate_of: int | str | None = None,
    earlier: Mapping[str, Any] | None = None,
    guidance: Mapping[str, Any] = EMPTY,
    declined: bool = False,
) -> dict[str, Any]:
    """The attribute of one proposal; `earlier` is the same trial's attribute from calls before this one.

    `declined`: one of the replies was no attempt, but took none of a menu that it could decline.
    Tokens and cost are None as soon as those of one reply are unknown.
    """
    nothing = Usage(prompt_tokens=0, completion_tokens=0, cost=0.0)
    usage = functools.reduce(_sum, (reply.usage for reply in replies), nothing if replies else None)
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": clean(model, MAX_MODEL_LENGTH),
        "rationale": rationale,
        "role": role,
        **guidance,
        "context": dict(counts),
        "calls": len(replies),
        "reasks": max(0, len(replies) - 1 - declined),
        "repairs": [clean(repair, MAX_REPAIR_LENGTH) for repair in repairs[:MAX_REPAIRS]],
        "duplicate_of": duplicate_of,
        "usage": asdict(usage) if usage else None,
        "latency": round(sum((reply.latency or 0.0 for reply in replies), 0.0), 4),
    }
    return _shortened(_joined(earlier, record) if earlier else record)


def guidance_part(strategy: str, form: str, reason: str = "") -> dict[str, Any]:
    """What the attribute says of the guidance; of a reason only where there is one."""
    why = {"reason": clean(reason, MAX_REASON_LENGTH)} if reason else {}
    return {"strategy": clean(strategy, MAX_STRATEGY_LENGTH), "form": form, **why}


def _bytes(record: Mapping[str, Any]) -> int:
    """The size of a record as storages write it: in ASCII, so that a character is a byte."""
    return len(json.dumps(record))


def _shortened(record: dict[str, Any]) -> dict[str, Any]:
    """Shorten the rationale, then the repairs, until the record is within its size."""
    while _bytes(record) > MAX_RECORD_BYTES:
        if record["rationale"] and len(record["rationale"]) > SHORTEST_RATIONALE:
            record["rationale"] = clean(record["rationale"], len(record["rationale"]) * 2 // 3)
        elif record["repairs"]:
            record["repairs"] = record["repairs"][:-1]
        else:
            return record
    return record


def _joined(earlier: Mapping[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Add the calls of before; users and other tools may have written `earlier`."""
    total = _sum(_usage(earlier.get("usage")), _usage(later["usage"]))
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


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return None
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        written_tokens=one.written_tokens + other.written_tokens,
        cost=None if one.cost is None or other.cost is None else one.cost + other.cost,
    )


def _usage(recorded: Any) -> Usage | None:
    if not isinstance(recorded, Mapping):
        return None
    return Usage(
        prompt_tokens=as_count(recorded.get("prompt_tokens")),
        completion_tokens=as_count(recorded.get("completion_tokens")),
        cached_tokens=as_count(recorded.get("cached_tokens")),
        written_tokens=as_count(recorded.get("written_tokens")),
        cost=as_amount(recorded.get("cost")),
    )


# -- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceRecord:
    """How a trial was guided: by which strategy and form ("plain", "menu"), and in which role.

    `proposed`: it comes from the model. `stumbled`: that took more than one call, or it is a duplicate all the same.
    `seen`: how many finished trials the study had when its prompt was written; None if that is not on record.
    """

    proposed: bool = False
    stumbled: bool = False
    strategy: str | None = None
    form: str | None = None
    role: str | None = None
    seen: int | None = None


def read_guidance(trial: FrozenTrial) -> GuidanceRecord:
    """Read how a finished trial was guided; nothing is trusted to be there, or to be of its type."""
    llm = llm_of(trial)
    return GuidanceRecord(
        proposed=bool(llm.get("calls")),
        stumbled=bool(llm.get("reasks")) or llm.get("duplicate_of") is not None,
        strategy=_text(llm.get("strategy")),
        form=_text(llm.get("form")),
        role=_text(llm.get("role")),
        seen=_finished(llm.get("context")),
    )


def _finished(context: object) -> int | None:
    if not isinstance(context, Mapping):
        return None
    counts = [context.get(name) for name in ("complete", "pruned", "failed")]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if len(known) == len(counts) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
