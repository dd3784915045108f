"""From the text of a model to raw values: one JSON object, whole, found without guessing."""

import functools
import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .space import RATIONALE
from .untrusted import clean, show

MAX_LENGTH = 100_000
MAX_DEPTH = 32
MAX_OBJECTS = 16
RATIONALE_LENGTH = 500
REFUSED = frozenset({"refusal", "content_filter"})
WRAPPERS = frozenset({"parameters", "params", "configuration", "config"})

_OPENING = re.compile(r"\{|<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_TOKEN = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LOOKS_LIKE_JSON = re.compile(r"\{\s*[\"']")
_INTEGER_LENGTH = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The values of a reply as the model wrote them, without the rationale; or None, and what was wrong with it."""

    values: Mapping[str, Any] | None
    rationale: str | None
    violation: str | None


def parse(text: str, finish_reason: str | None = None) -> Parsed:
    """Read the one JSON object in `text`; fences, prose and thinking around it do not matter. Never raises."""
    try:
        _check_whole(text, finish_reason)
        document = _only(_documents(text))
        rationale = _rationale(document.get(RATIONALE))
        values = _validated({key: value for key, value in document.items() if key != RATIONALE})
    except _UnreadableError as error:
        return Parsed(values=None, rationale=None, violation=str(error))
    return Parsed(values=values, rationale=rationale, violation=None)


class _UnreadableError(ValueError):
    pass


def _check_whole(text: str, finish_reason: str | None) -> None:
    if len(text) > MAX_LENGTH:
        raise _UnreadableError(f"the reply is longer than {MAX_LENGTH} characters; answer with the JSON object only")
    if finish_reason in REFUSED:
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
    documents: list[dict[str, Any]] = []
    for span in _spans(text):
        try:
            document: dict[str, Any] = _DECODER.decode(span)
            documents.append(document)
        except json.JSONDecodeError as error:
            if _LOOKS_LIKE_JSON.match(span):
                where = f"line {error.lineno} column {error.colno} of the object"
                raise _UnreadableError(f"the reply is not valid JSON: {error.msg} at {where}") from None
    return documents


def _spans(text: str) -> list[str]:
    """The outermost balanced {...} of `text`, leaving out thinking; a lone end of it says that all before was."""
    spans: list[str] = []
    position = 0
    while opening := _OPENING.search(text, position):
        if opening[0] == "{":
            end = _end_of_object(text, opening.start())
            if end is None:
                position = _after_thinking(text, opening.end())
                spans.clear()
                continue
            spans.append(text[opening.start() : end])
            if len(spans) > MAX_OBJECTS:
                raise _UnreadableError(f"the reply holds more than {MAX_OBJECTS} pairs of braces; give one JSON object")
            position = end
        elif opening[1]:
            spans.clear()
            position = opening.end()
        else:
            closing = _THOUGHT_END.search(text, opening.end())
            position = closing.end() if closing else len(text)
    return spans


def _after_thinking(text: str, start: int) -> int:
    """Where an answer may begin after an unbalanced brace: only behind thinking that held it."""
    ends = [match.end() for match in _THOUGHT_END.finditer(text, start)]
    if not ends:
        raise _UnreadableError("the JSON object is cut off or its braces do not match; give it whole")
    return ends[-1]


def _end_of_object(text: str, start: int) -> int | None:
    depth = 0
    position = start
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token[0] == '"':
            string = _STRING.match(text, token.start())
            if string is None:
                return None
            position = string.end()
            continue
        depth += 1 if token[0] in "{[" else -1
        if depth == 0:
            return position
        if depth > MAX_DEPTH:
            raise _UnreadableError(f"the reply is nested deeper than {MAX_DEPTH} levels; give one flat JSON object")
    return None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document and _canonical(document[key]) != _canonical(value):
            raise _UnreadableError(f"the key {show(key)} stands twice with different values; give each key once")
        document[key] = value
    return document


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_LENGTH else float(digits)


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


@functools.cache
def _core() -> Any:
    """Pydantic's core alone, at the first reply: it would be an eighth of this package's import time."""
    return importlib.import_module("pydantic_core")


@functools.cache
def _validator() -> Any:
    core_schema = _core().core_schema
    scalars = [
        core_schema.none_schema(),
        core_schema.bool_schema(strict=True),
        core_schema.int_schema(strict=True),
        core_schema.float_schema(strict=True),
        core_schema.str_schema(strict=True),
    ]
    return _core().SchemaValidator(
        core_schema.dict_schema(
            core_schema.str_schema(strict=True, max_length=MAX_LENGTH),
            core_schema.union_schema([*scalars, core_schema.list_schema(), core_schema.dict_schema()]),
        )
    )


def _validated(document: dict[str, Any]) -> Mapping[str, Any]:
    try:
        values: Mapping[str, Any] = _validator().validate_python(document)
    except _core().ValidationError as error:
        kind = error.errors(include_input=False, include_url=False)[-1]["type"]
        raise _UnreadableError(f"the reply cannot be read ({kind}); answer in plain Unicode text") from None
    return values


def _rationale(value: Any) -> str | None:
    return clean(value, RATIONALE_LENGTH) or None if isinstance(value, str) else None
