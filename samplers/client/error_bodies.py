"""Reads what the body of a failed request says, wherever the provider, or one behind a gateway, has put it.

Reasons stand in `error`, in lists (Gemini), in `detail` (FastAPI), in `metadata.raw` (OpenRouter, with the host's name
beside it), or once more as JSON inside a message (LiteLLM's proxy). The innermost one tells most. Some servers answer
with a page for people, or with nothing.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Final, Literal

# Of a body that holds more, nothing after this is read; a page's title and an error's reason come early.
LONGEST_BODY: Final = 65_536
LONGEST_LITERAL: Final = 16_384
LONGEST_MESSAGE: Final = 4_096
LONGEST_LIST: Final = 8
DEEPEST: Final = 6  # a proxy before a gateway before a host; more is hardly meant well

_INNER: Final = ("error", "errors", "message", "detail", "details", "metadata", "raw", "innererror")
_MESSAGES: Final = ("message", "Message", "msg", "detail", "error_description", "raw", "error", "title")
_CODES: Final = ("reason", "code", "type", "__type", "status")
_PARAMETERS: Final = ("param", "field")
_WAITS: Final = ("retryDelay", "retry_after", "retry_after_seconds", "Retry-After", "retry-after")
# True of most errors of their providers: any other code beside them says more.
_EMPTY: Final = {"error", "None", "null"}
_GENERIC: Final = {*_EMPTY, "invalid_request_error", "unknown_error", "api_error", "server_error"}

_CODE: Final = re.compile(r"[A-Za-z][\w.:-]*")
# At the start of a body, or where LiteLLM quotes one that it could not read.
_PAGE: Final = re.compile(
    r"(?i)(?:\A|Received: ['\"]|Original Response: |from Azure: ['\"])\s*"
    r"(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,999}?-->\s*)?<(?:!doctype html|html|head|body|title)\b",
    re.DOTALL,
)
_TITLE: Final = re.compile(r"(?i)<(title|h1)[^>]{0,200}>([^<]{1,200})</\1>")
_WAIT_TEXT: Final = re.compile(
    r"(?i)\b(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|s|m|h|d)\b|\d+(?:\.\d+)?(?:ms|[smhd])(?=\d))+"
    r"|\d+(?:\.\d+)?(?= seconds?\b))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What a body says. `message` is a page's title, or empty; `wait` is a duration, written as in a header."""

    kind: Literal["json", "text", "page", "empty"]
    message: str = ""
    code: str | None = None
    parameter: str | None = None
    wait: str | None = None


def read_body(text: str, headers: Mapping[str, str]) -> ErrorBody:
    """What a body says; `headers` have names in lower case."""
    text = text.strip()[:LONGEST_BODY]
    if not text:
        return ErrorBody(kind="empty", code=_header_code(headers))
    if _PAGE.search(text):
        return ErrorBody(kind="page", message=_title(text))
    document = _document_in(text)
    levels = list(_levels(document))
    message = _message(levels)
    return ErrorBody(
        kind="text" if document is None else "json",
        message=(message or text)[:LONGEST_MESSAGE],
        code=_code(levels) or _header_code(headers),
        parameter=_parameter(levels),
        wait=_wait(levels, message or text),
    )


def _title(page: str) -> str:
    found = _TITLE.search(page)
    return " ".join(unescape(found[2]).split()) if found else ""


def _document_in(text: str) -> Any:
    """The first JSON object in `text`, also in Python's notation, or the list that it is; None if there is none."""
    start = 0 if text.startswith("[") else text.find("{")
    rest = text[start:LONGEST_BODY] if start >= 0 else ""
    try:
        found, _ = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        found = _literal_in(rest)
    return found if isinstance(found, dict | list) else None


def _literal_in(text: str) -> Any:
    end = text[:LONGEST_LITERAL].rfind("]" if text.startswith("[") else "}") + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python would not write
            return ast.literal_eval(text[:end])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _levels(thing: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects of a document that tell of its error, the outermost first."""
    if isinstance(thing, str):
        thing = _document_in(thing)
    if isinstance(thing, list):
        entries = [entry for entry in thing[:LONGEST_LIST] if isinstance(entry, Mapping)]
        for entry in entries if any("@type" in entry for entry in entries) else entries[:1]:
            yield from _levels(entry, depth)
    if isinstance(thing, Mapping) and depth <= DEEPEST:
        yield thing
        for name in _INNER:
            yield from _levels(thing.get(name), depth + 1)


def _message(levels: Sequence[Mapping[str, Any]]) -> str:
    """The innermost message, after the name of the host that gave it; of a list, the first."""
    told = [message for level in levels if (message := _own_message(level))]
    hosts = [name for level in levels if isinstance(name := level.get("provider_name"), str) and name]
    reasons = [str(reason) for level in levels for reason in _entries(level.get("reasons"))]
    message = told[-1] if told else ""
    if _PAGE.search(message):
        message = f"a web page, {_title(message)!r}"
    if reasons:
        message = f"{message} ({', '.join(reasons)})"
    return f"{hosts[-1]}: {message}" if hosts and not message.startswith(hosts[-1]) else message


def _own_message(level: Mapping[str, Any]) -> str | None:
    """What the object itself says; not what only wraps a message that is told further inside."""
    texts = (level.get(name) for name in _MESSAGES)
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip() and not _wraps(text)), None)


def _wraps(text: str) -> bool:
    texts = (level.get(name) for level in _levels(_document_in(text)) for name in _MESSAGES)
    return any(isinstance(text, str) and text.strip() for text in texts)


def _code(levels: Sequence[Mapping[str, Any]]) -> str | None:
    """The innermost code that says something; numbers repeat the status."""
    values = [level.get(name) for level in reversed(levels) for name in _CODES]
    codes = [value.rpartition("#")[2] for value in values if isinstance(value, str)]
    codes = [code for code in codes if _CODE.fullmatch(code)]
    codes.sort(key=_GENERIC.__contains__)
    return next((code for code in codes if code not in _EMPTY), None)


def _header_code(headers: Mapping[str, str]) -> str | None:
    """AWS names its errors in a header, with an address behind the name."""
    return headers.get("x-amzn-errortype", "").partition(":")[0] or None


def _parameter(levels: Sequence[Mapping[str, Any]]) -> str | None:
    for level in reversed(levels):
        violations = [entry for entry in _entries(level.get("fieldViolations")) if isinstance(entry, Mapping)]
        for place in (level, *violations):
            for name in map(place.get, _PARAMETERS):
                if isinstance(name, str) and name and name not in _GENERIC:
                    return name
        if _entries(level.get("loc")):
            return ".".join(map(str, level["loc"]))
    return None


def _wait(levels: Sequence[Mapping[str, Any]], message: str) -> str | None:
    """How long to wait, where the body says so: in a field, in the headers of a host, in words."""
    headers = (level.get("headers") for level in levels)
    places = [*levels, *(entry for entry in headers if isinstance(entry, Mapping))]
    values = (place.get(name) for place in places for name in _WAITS)
    found = next((str(value) for value in values if isinstance(value, str | int | float) and value), None)
    if found is None and (said := _WAIT_TEXT.search(message)):
        return said[1]
    return found


def _entries(thing: Any) -> Sequence[Any]:
    return thing if isinstance(thing, list) else ()
