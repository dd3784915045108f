"""From the text of a model to raw values: one JSON object, whole, found without guessing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...engine.foreign_text import clean
from .notation import LONGEST_NUMBER, show
from .space import RATIONALE

MAX_LENGTH = 100_000  # characters: a hundred times a reply with 50 parameters
MAX_DEPTH = 32  # levels: a configuration has one or two, and Python's own limit is near
MAX_OBJECTS = 16  # the same configuration may be said twice; who writes more is lost in repetition
RATIONALE_LENGTH = 500  # characters; 40 words are asked for
REFUSALS = frozenset({"refusal", "content_filter"})
WRAPPERS = frozenset({"parameters", "params", "configuration", "config"})

# Braces that cannot begin an object are prose; all other grammar is the decoder's. One that ends the text was cut off.
_OPENING = re.compile(r"\{(?=\s*(?:[\"'}]|\Z))|<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The values of a reply as the model wrote them, without the rationale; or None, and what was wrong with it."""

    values: Mapping[str, Any] | None
    rationale: str | None
    violation: str | None


def parse(text: str, finish_reason: str | None = None) -> Parsed:
    """Read the one JSON object in `text`; fences, prose and thinking around it do not matter. Never raises."""
    try:
        _check_answered(text, finish_reason)
        document = _only(_documents(text))
    except _UnreadableError as error:
        return Parsed(values=None, rationale=None, violation=str(error))
    reasons = document.pop(RATIONALE, None)
    rationale = clean(reasons, RATIONALE_LENGTH) if isinstance(reasons, str) else None
    return Parsed(values=document, rationale=rationale or None, violation=None)


class _UnreadableError(ValueError):
    pass


def _check_answered(text: str, finish_reason: str | None) -> None:
    if len(text) > MAX_LENGTH:
        raise _UnreadableError(f"the reply is longer than {MAX_LENGTH} characters; answer with the JSON object only")
    if finish_reason in REFUSALS:
        raise _UnreadableError(
            f"the reply was a refusal ({finish_reason}); nothing but values for the listed parameters is asked for: "
            "answer with one JSON object"
        )
    if finish_reason == "length":
        raise _UnreadableError("the reply was cut off at its length limit; answer shorter, with the JSON object only")
    if not text.strip("\ufeff \t\r\n"):
        reason = f" (finish reason {show(finish_reason)})" if finish_reason not in (None, "stop") else ""
        raise _UnreadableError(f"the reply is empty{reason}; answer with one JSON object")


def _documents(text: str) -> list[dict[str, Any]]:
    """Decode all JSON objects outside of thinking; a lone end of thinking says that all before it was."""
    documents: list[dict[str, Any]] = []
    position = 0
    while opening := _OPENING.search(text, position):
        position = opening.end()
        if opening[0] == "{":
            try:
                document, position = _decode(text, opening.start(), len(documents))
                documents.append(document)
            except _UnreadableError:
                ends = [match.end() for match in _THOUGHT_END.finditer(text, position)]
                if not ends:
                    raise
                position = ends[-1]  # what cannot be read was a thought
                documents.clear()
        elif opening[1]:
            documents.clear()
        else:
            closing = _THOUGHT_END.search(text, position)
            position = closing.end() if closing else len(text)
    return documents


def _decode(text: str, start: int, before: int) -> tuple[dict[str, Any], int]:
    """Decode the object that begins at `start`, after so many others, and say where it ends."""
    if before == MAX_OBJECTS:
        raise _UnreadableError(f"the reply holds more than {MAX_OBJECTS} JSON objects; give exactly one")
    try:
        document, end = _DECODER.raw_decode(text, start)
        if _is_deeper(document, MAX_DEPTH):
            raise RecursionError
    except RecursionError:
        problem = f"the reply is nested deeper than {MAX_DEPTH} levels; give one flat JSON object"
        raise _UnreadableError(problem) from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise _UnreadableError("the JSON object is cut off; give it whole") from None
        where = f"line {error.lineno} column {error.colno} of the reply"
        raise _UnreadableError(f"the reply is not valid JSON: {error.msg} at {where}") from None
    return document, end


def _is_deeper(document: Any, levels: int) -> bool:
    """Go down level by level, because the decoder may have gone deeper than Python functions can."""
    values = [document]
    for _ in range(levels):
        inner = [value.values() if isinstance(value, dict) else value for value in values]
        values = [value for level in inner for value in level if isinstance(value, dict | list)]
        if not values:
            return False
    return True


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document and _canonical(document[key]) != _canonical(value):
            raise _UnreadableError(f"the key {show(key)} stands twice with different values; give each key once")
        document[key] = value
    return document


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_NUMBER else float(digits)


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_unique_keys, parse_int=_integer)


def _only(documents: list[dict[str, Any]]) -> dict[str, Any]:
    if not documents:
        raise _UnreadableError("the reply holds no JSON object; answer with one JSON object and nothing else")
    flat = [_unwrapped(document) for document in documents]
    if len({_canonical({k: v for k, v in document.items() if k != RATIONALE}) for document in flat}) > 1:
        raise _UnreadableError(f"the reply holds {len(documents)} different JSON objects; give exactly one")
    return flat[0]


def _unwrapped(document: dict[str, Any]) -> dict[str, Any]:
    """A configuration that stands one level down; no parameter's value is an object, so this cannot hide one."""
    names = [name for name in document if name != RATIONALE]
    if len(names) != 1 or names[0] not in WRAPPERS or not isinstance(document[names[0]], dict):
        return document
    inner: dict[str, Any] = document[names[0]]
    return {RATIONALE: document[RATIONALE]} | inner if RATIONALE in document else inner


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
