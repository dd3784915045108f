"""The JSON schema of one configuration, in the part of the language that every provider takes."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .notation import clean, describe, format_value
from .space import RATIONALE, Space

NAME_LENGTH = 80


def json_schema(
    space: Space, *, rationale: bool = True, menu: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Any]:
    """A flat object with one required key per parameter that has more than one value, `rationale` first.

    `menu` narrows parameters to a few values. Without one the schema is shared between calls: do not change it.
    """
    return _plain_schema(space, rationale) if menu is None else _schema(space, rationale, menu)


@lru_cache(maxsize=256)
def _plain_schema(space: Space, rationale: bool) -> dict[str, Any]:
    return _schema(space, rationale, {})


def _schema(space: Space, rationale: bool, menu: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if rationale:
        properties[RATIONALE] = {"type": "string", "description": "why this configuration, in at most 40 words"}
    for name, distribution in space.distributions.items():
        if name not in space.fixed:
            properties[space.keys[name]] = _property(name, distribution, space, menu.get(name, ()))
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _property(name: str, distribution: BaseDistribution, space: Space, offered: Sequence[Any]) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        texts = _unique([format_value(value, distribution) for value in offered])
        schema = {"type": "string", "enum": texts or list(space.labels[name])}
        return schema if space.keys[name] == name else schema | {"description": _title(name)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "integer" if isinstance(distribution, IntDistribution) else "number"
    title = "" if space.keys[name] == name else _title(name)
    if offered:
        numbers = _unique([_parsed(format_value(value, distribution)) for value in offered])
        return {"type": kind, "enum": numbers} | ({"description": title} if title else {})
    return {
        "type": kind,
        "minimum": distribution.low,
        "maximum": distribution.high,
        "description": ": ".join(part for part in (title, describe(distribution)) if part),
    }


_parsed = lru_cache(maxsize=4096)(json.loads)


def _title(name: str) -> str:
    return json.dumps(clean(name, NAME_LENGTH), ensure_ascii=False)


def _unique(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
