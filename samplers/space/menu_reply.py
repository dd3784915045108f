"""Replies to a menu: the number of a candidate in place of values for the parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...engine.records import Params
from .axes import Axis
from .notation import show
from .reply_model import Conformed, rationale_schema
from .space import RATIONALE, Space

CANDIDATE: Final = "candidate"

# The number that declines a menu: last in the schema, so that a model which takes what comes first does not.
NONE_OF_THEM: Final = 0
OR_NONE: Final = f"the number of a candidate, or {NONE_OF_THEM}"


def number_key(space: Space) -> str:
    """The key of the candidate's number: none that a parameter has."""
    taken, key = {*space.keys.values(), *space.keys}, CANDIDATE
    while key in taken:
        key += "_"
    return key


def menu_schema(space: Space, count: int, *, optional: bool = False, rationale: bool = True) -> dict[str, Any]:
    """A flat object with the number of one of `count` candidates, `rationale` first; 0 declines an `optional` menu.

    It says nothing of the candidates: a host that compiles each new schema has met this one before.
    """
    key = number_key(space)
    numbers = list(range(1, count + 1))
    number = {"type": "integer", "enum": numbers, "description": "the number of a candidate"}
    if optional:
        number |= {"enum": [*numbers, NONE_OF_THEM], "description": OR_NONE}
    properties = {RATIONALE: rationale_schema()} if rationale else {}
    return {
        "type": "object",
        "properties": {**properties, key: number},
        "required": [*properties, key],
        "additionalProperties": False,
    }


def declines(values: Mapping[str, Any], key: str) -> bool:
    """Whether a reply, whose number stands under `key`, takes none of the candidates, and is to be asked for values."""
    return _whole(values.get(key)) == NONE_OF_THEM


def chosen(values: Mapping[str, Any], space: Space, candidates: Sequence[Params]) -> Conformed | None:
    """The candidate that a reply names; None for a reply that gives values of its own.

    A parameter that does not count in the candidate gets the middle of its range.
    """
    key = number_key(space)
    if key not in values:
        return None
    number = _whole(values[key])
    if number is None or not 1 <= number <= len(candidates):
        problem = f"`{key}`: {show(values[key])} is none of the candidates; give a number from 1 to {len(candidates)}"
        return Conformed(params=None, repairs=(), violations=(problem,))
    candidate = candidates[number - 1]
    idle = {
        name: Axis(name, distribution).value(0.5)
        for name, distribution in space.distributions.items()
        if name not in candidate and name not in space.fixed
    }
    return Conformed(params={**idle, **candidate, **space.fixed}, repairs=(), violations=())


def _whole(value: Any) -> int | None:
    text = str(value).strip().removeprefix("#").removesuffix(".0")
    return int(text) if text.isdecimal() and len(text) < 4 and not isinstance(value, bool) else None
