"""The JSON schema that is sent: that of the reply's model, in the part of the language that every provider takes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from .notation import as_json
from .reply_model import MODELS, reply_model, title
from .space import RATIONALE, Space

KEYWORDS = ("type", "minimum", "maximum", "enum", "description")  # in this order; models read it from the left


def json_schema(
    space: Space, *, rationale: bool = True, menu: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Any]:
    """Give a flat object with one required key per parameter that has more than one value, `rationale` first.

    `menu` narrows parameters to a few values. Without one the schema is shared between calls: do not change it.
    """
    schema = _schema(space, rationale)
    if not menu:
        return schema
    properties = schema["properties"]
    narrowed = {
        space.keys[name]: _narrowed(properties[space.keys[name]], name, values, space)
        for name, values in menu.items()
        if values and name in space.keys and name not in space.fixed
    }
    return schema | {"properties": properties | narrowed}


@lru_cache(maxsize=MODELS)
def _schema(space: Space, rationale: bool) -> dict[str, Any]:
    documents = reply_model(space).model_json_schema()["properties"]
    asked = [RATIONALE] * rationale + [key for name, key in space.keys.items() if name not in space.fixed]
    return {
        "type": "object",
        "properties": {
            key: {word: documents[key][word] for word in KEYWORDS if word in documents[key]} for key in asked
        },
        "required": asked,
        "additionalProperties": False,
    }


def _narrowed(document: Mapping[str, Any], name: str, offered: Sequence[Any], space: Space) -> dict[str, Any]:
    answers = dict.fromkeys(as_json(value, space.distributions[name]) for value in offered)
    words = title(name, space)
    return {"type": document["type"], "enum": list(answers)} | ({"description": words} if words else {})
