"""The schema of an answer, as little of it as a host can be asked to compile. All pure.

What is left out here is no less checked: every value that comes back is validated against the search space.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Words of a schema that bound a value, which some hosts refuse, or multiply into states that they do not compile.
BOUNDS: Final = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "minItems", "maxItems"),
)

# Choices of one key, and of all keys together, that hosts compile without a thought: OpenAI admits 1,000 in all (and
# 15,000 characters of one from 250 on), Anthropic and Gemini refuse what compiles to too many states.
MOST_CHOICES: Final = 100
MOST_CHOICES_IN_ALL: Final = 500


def without_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The flat schema with types and choices alone; descriptions still tell the ranges."""
    properties = {
        name: {word: value for word, value in part.items() if word not in BOUNDS} for name, part in _properties(schema)
    }
    return {**schema, "properties": properties}


def without_long_choices(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The flat schema, with the bare type of a key that has too many choices; the longest go first."""
    sizes = {name: len(part.get("enum", ())) for name, part in _properties(schema)}
    total = sum(sizes.values())
    bare = set()
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size > MOST_CHOICES or total > MOST_CHOICES_IN_ALL:
            bare.add(name)
            total -= size
    if not bare:
        return dict(schema)
    properties = {
        name: {word: value for word, value in part.items() if word != "enum" or name not in bare}
        for name, part in _properties(schema)
    }
    return {**schema, "properties": properties}


def _properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from schema.get("properties", {}).items()
