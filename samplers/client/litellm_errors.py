"""Turns what litellm raises into a `ClientError`, by status and body, never by the exception's class.

litellm gives most failures the status 500 and the class of a server error, whether a server was reached or not. Only an
error with response headers was answered by one.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...engine.errors import scrub
from .errors import (
    TOO_LONG,
    AuthenticationError,
    ClientError,
    DeadlineExceededError,
    ModelNotFoundError,
    QuotaExceededError,
    ThrottledError,
    TransientError,
)
from .headers import retry_after

# Of the provider's message: enough for its first sentences, too little for an echoed prompt.
DETAIL_CHARS: Final = 300

_QUOTA_CODES: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"}
_MODEL_CODES: Final = {"model_not_found", "unknown_model"}
_KEY_CODES: Final = {"invalid_api_key", "authentication_error", "API_KEY_INVALID"}
_CONTEXT_CODES: Final = {"context_length_exceeded", "exceed_context_size_error"}
_QUOTA_TEXT: Final = re.compile(r"(?i)credit balance is too low|insufficient (?:balance|credits|quota)")
_MISSING_KEY_TEXT: Final = re.compile(r"(?i)missing [\w ]*(?:credentials|api[ _]key)|api_key client option must be set")
_BAD_KEY_TEXT: Final = re.compile(r"(?i)api key not valid|API_KEY_INVALID")
_UNKNOWN_PROVIDER_TEXT: Final = re.compile(r"LLM Provider NOT provided")
_CONTEXT_TEXT: Final = re.compile(
    r"(?i)context[ _](?:length|window|size|limit)|ContextWindowExceeded|prompt (?:is|was) too (?:long|large)"
    r"|input is too long|reduce the length of the (?:messages|prompt|input)|input tokens exceed"
    r"|(?:input )?token count\b.{0,40}\bexceeds|exceeds the maximum number of (?:input )?tokens|too many input tokens"
)
_UNREACHED_TEXT: Final = re.compile(r"(?i)connection error|cannot connect|connect(?:ion)? (?:call failed|refused)")
_ADVICE: Final[Mapping[type[ClientError], str]] = {
    AuthenticationError: " (check the API key and its permissions)",
    QuotaExceededError: " (the account has no quota left: check its plan and billing)",
}
_TOO_LONG_ADVICE: Final = (
    " (the prompt is too long for this model: show it less history, or take a model with a longer context)"
)
_KEY_VARIABLE: Final = re.compile(r"\b[A-Z][A-Z0-9_]*_KEY\b")
_CLASS_PREFIX: Final = re.compile(r"^(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)(?::| -| \w+Error -)\s*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFacts:
    """What is known of a failed request. `status` is None where no server answered."""

    status: int | None
    timed_out: bool
    local_status: int | None
    code: str | None
    parameter: str | None
    text: str
    headers: Mapping[str, str]


def translate(
    error: Exception,
    *,
    model: str,
    api_base: str | None = None,
    secrets: Sequence[str] = (),
    now: datetime | None = None,
) -> ClientError:
    """The `ClientError` that `error` amounts to; its message names the model, says what to do, and holds no key."""
    facts = facts_of(error)
    kind = classify(facts)
    code, advice = facts.code, _ADVICE.get(kind, "")
    if kind is ClientError and (facts.status == 413 or code in _CONTEXT_CODES or _CONTEXT_TEXT.search(facts.text)):
        code, advice = TOO_LONG, _TOO_LONG_ADVICE
    elif type(error).__name__ == "UnsupportedParamsError":
        code = "unsupported_params"
    said = f": {_unanswered(kind, facts)}" if facts.status is None else f"{_answered(facts)}{advice}"
    message = scrub(f"model {model!r}" + (f" at {api_base}" if api_base else "") + said, secrets)
    wait = retry_after(facts.headers, now or datetime.now(UTC))
    return kind(message, retry_after=wait, status=facts.status, code=code)


def classify(facts: ErrorFacts) -> type[ClientError]:
    """The class of the error. Fatal findings come first; what is left is decided by the status."""
    text = facts.text
    if facts.status is None:
        return _classify_unanswered(facts)
    if facts.code in _QUOTA_CODES or facts.status == 402 or (facts.status < 500 and _QUOTA_TEXT.search(text)):
        return QuotaExceededError
    if facts.code in _MODEL_CODES or facts.status == 404:
        return ModelNotFoundError
    if facts.status in (401, 403) or facts.code in _KEY_CODES or (facts.status == 400 and _BAD_KEY_TEXT.search(text)):
        return AuthenticationError
    if facts.status == 429:
        return ThrottledError
    if facts.status in (408, 409, 425) or facts.status >= 500:
        return TransientError
    return ClientError


def _classify_unanswered(facts: ErrorFacts) -> type[ClientError]:
    if facts.timed_out:
        return DeadlineExceededError
    if _MISSING_KEY_TEXT.search(facts.text) or facts.local_status in (401, 403):
        return AuthenticationError
    if _UNKNOWN_PROVIDER_TEXT.search(facts.text):
        return ModelNotFoundError
    if facts.local_status is not None and facts.local_status >= 500:
        return TransientError
    return ClientError


def facts_of(error: Exception) -> ErrorFacts:
    """The facts of `error`, read from it and from the errors it was made of."""
    chain = list(_chain(error))
    headers = _headers(error)
    local_status = _status(error)
    bodies = [_body(link) for link in chain]
    return ErrorFacts(
        # litellm rounds statuses it does not know to 400 and 500; the innermost error has the server's own.
        status=next((s for link in reversed(chain) if (s := _status(link))), None) if headers else None,
        timed_out=local_status == 408 and not headers,
        local_status=local_status,
        code=_first(bodies, "code", "type", "status"),
        parameter=_first(bodies, "param"),
        text=_first(bodies, "message") or str(error),
        headers=headers,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _headers(error: Exception) -> dict[str, str]:
    headers = getattr(error, "litellm_response_headers", None)
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _status(error: BaseException) -> int | None:
    for owner in (error, getattr(error, "response", None)):
        status = getattr(owner, "status_code", None)
        if isinstance(status, int) and 400 <= status < 600:
            return status
    return None


def _body(error: BaseException) -> Mapping[str, Any]:
    """The provider's error object: from the SDK's `body`, else from the JSON in the message."""
    body = getattr(error, "body", None)
    if not isinstance(body, Mapping):
        body = _json_in(str(error))
    inner = body.get("error", body)
    return inner if isinstance(inner, Mapping) else {"message": str(inner)}


def _json_in(text: str) -> Mapping[str, Any]:
    try:
        found, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first(bodies: Iterable[Mapping[str, Any]], *names: str) -> str | None:
    """The first text under one of these names, of the first body that has one."""
    values = (body.get(name) for body in bodies for name in names)
    return next((value for value in values if isinstance(value, str) and value and value != "error"), None)


def _detail(facts: ErrorFacts) -> str:
    lines = _CLASS_PREFIX.sub("", facts.text.strip()).splitlines() or [""]
    first = lines[0].strip()
    return first if len(first) <= DETAIL_CHARS else first[:DETAIL_CHARS] + " ..."


def _answered(facts: ErrorFacts) -> str:
    said = f" answered {facts.status}" + (f" {facts.code}" if facts.code else "")
    return f"{said}{f' for {facts.parameter!r}' if facts.parameter else ''}: {_detail(facts)}"


def _unanswered(kind: type[ClientError], facts: ErrorFacts) -> str:
    if kind is AuthenticationError:
        names = list(dict.fromkeys(_KEY_VARIABLE.findall(facts.text)))
        return f"no API key: set {names[0] if names else 'the environment variable of its provider'}, or pass api_key"
    if kind is ModelNotFoundError:
        return "no provider of that name; write it as 'provider/model', such as 'openai/gpt-5-mini'"
    if kind is DeadlineExceededError:
        return "no answer within the timeout"
    if kind is TransientError and _UNREACHED_TEXT.search(facts.text):
        return f"the connection failed: {_detail(facts)}"
    return _detail(facts) or "no usable answer"
