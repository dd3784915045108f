"""A reply judged: read, conformed to the space, and compared with what the study has."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..engine.records import Params
from .client.protocol import Reply
from .guidance.strategy import Guidance
from .space.notation import format_value
from .space.reply import parse
from .space.reply_model import Conformed, conform
from .space.space import Space
from .view.duplicates import Duplicate

# Of a menu's values, looked through for one that is new: all of two parameters with eight values each.
SEARCHED_COMBINATIONS = 64

FindDuplicate = Callable[[Params], Duplicate | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The configuration of a reply if it is one, else what is wrong with it."""

    conformed: Conformed | None = None
    rationale: str | None = None
    violations: tuple[str, ...] = ()
    duplicate: Duplicate | None = None
    model: str | None = None


def verdict_on(reply: Reply, space: Space, guidance: Guidance, find_duplicate: FindDuplicate | None) -> Verdict:
    """Parse a reply, conform it to the space, and refuse it if `find_duplicate` finds one."""
    parsed = parse(reply.text, reply.finish_reason)
    if parsed.values is None:
        return Verdict(violations=(parsed.violation or "the reply held no JSON object",))
    conformed = conform(parsed.values, space)
    verdict = Verdict(
        conformed=conformed, rationale=parsed.rationale, violations=conformed.violations, model=reply.model
    )
    if conformed.params is None or find_duplicate is None:
        return verdict
    duplicate = find_duplicate(conformed.params)
    if duplicate is None:
        return verdict
    advice = _advice(guidance, space, find_duplicate)
    return replace(verdict, duplicate=duplicate, violations=(f"{duplicate}; {advice}",))


def _advice(guidance: Guidance, space: Space, find_duplicate: FindDuplicate) -> str:
    """What to do about a repetition: with a menu, take values of it that are new together."""
    complete = guidance.menu.keys() >= space.distributions.keys() - space.fixed.keys()
    combinations = itertools.product(*guidance.menu.values()) if complete else ()
    for values in itertools.islice(combinations, SEARCHED_COMBINATIONS):
        params = {**space.fixed, **dict(zip(guidance.menu, values, strict=True))}
        if find_duplicate(params) is None:
            shown = {space.keys[name]: _json_value(name, params[name], space) for name in guidance.menu}
            return f"take values of the candidates that are new together, as {json.dumps(shown, ensure_ascii=False)}"
    return "give a different one: change a choice that counts, or a number by more than a thousandth of its range"


def _json_value(name: str, value: Any, space: Space) -> Any:
    """A value as an answer has it: the label of a choice, or a number with the digits that prompts show."""
    text = format_value(value, space.distributions[name])
    return text if name in space.labels else json.loads(text)
