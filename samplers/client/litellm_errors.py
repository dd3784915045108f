"""Turns what litellm raises into a `ClientError`, by status and body, never by the exception's class.

litellm gives most failures the status 500 and the class of a server error, whether a server was reached or not. Only an
error with response headers was answered by one. Gateways put errors into replies with the status 200: these are judged
by what the reply says, as the same status would be.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from ...engine.foreign_text import MARGIN, said
from ...engine.secrets import scrub
from .error_bodies import read_body
from .errors import (
    NO_CAPACITY,
    TOO_LONG,
    WEB_PAGE,
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
MESSAGE_CHARS: Final = 1000  # of ours around it: names and addresses may be long

_QUOTA_CODES: Final = {
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"),
    *("budget_exceeded", "BILLING_DISABLED"),
}
_MODEL_CODES: Final = {"model_not_found", "unknown_model", "invalid_model", "model_not_available"}
_KEY_CODES: Final = {"invalid_api_key", "authentication_error", "API_KEY_INVALID"}
_CONTEXT_CODES: Final = {"context_length_exceeded", "exceed_context_size_error"}
_MODERATION_CODES: Final = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
# "limit: 0" is Gemini's way to say that a plan does not hold the model at all; waiting does not change that.
_QUOTA_TEXT: Final = re.compile(
    r"(?i)credit balance is too low|insufficient (?:balance|credits|quota)|key limit exceeded|\blimit: 0\b(?![.,]\d)"
)
_MODEL_TEXT: Final = re.compile(
    r"(?i)not a valid model|invalid model (?:name|id)|model not exist|model identifier is invalid"
    r"|\bmodel [`'\"]?[\w./:-]+[`'\"]? (?:does not exist|(?:is )?not found)"
)
_MODERATION_TEXT: Final = re.compile(
    r"(?i)requires moderation|(?:input|prompt|request) (?:was|has been) flagged"
    r"|content (?:filtering|management) policy|violat\w+ our usage polic|safety system"
)
_MISSING_KEY_TEXT: Final = re.compile(
    r"(?i)missing [\w ]{0,60}(?:credentials|api[ _]key)|api_key client option must be set"
)
_BAD_KEY_TEXT: Final = re.compile(r"(?i)api key not valid|API_KEY_INVALID|(?:incorrect|invalid) api key")
_UNKNOWN_PROVIDER_TEXT: Final = re.compile(r"LLM Provider NOT provided")
_CONTEXT_TEXT: Final = re.compile(
    r"(?i)context[ _](?:length|window|size|limit)|ContextWindowExceeded|prompt (?:is|was) too (?:long|large)"
    r"|input is too long|reduce the length of the (?:messages|prompt|input)|input tokens exceed"
    r"|(?:input )?token count\b.{0,40}\bexceeds|exceeds the maximum number of (?:input )?tokens|too many input tokens"
    r"|inputs`? tokens \+ `?max_new_tokens"
)
_NO_CAPACITY_TEXT: Final = re.compile(r"(?i)resource[ _]unavailable")
_STUMBLED_TEXT: Final = re.compile(
    r"Unable to get json response|Error converting to valid response block|Invalid response object"
    r"|(?:Empty or invalid|Unexpected) response from"
)
_NO_JSON_TEXT: Final = re.compile(
    r"Expecting value: line|Unterminated string starting|Expecting .{1,40} delimiter: line"
)

# A request that was refused for a reason that nobody gave, in the words of HTTP.
UNPROCESSABLE: Final = 422

# What an error without a number means, by its code and its message.
_STATUS_WORDS: Final = tuple(
    (re.compile(rf"(?i){words}"), status)
    for words, status in (
        (r"insufficient_(?:quota|credits|funds)|billing", 402),
        (r"rate[_ ]?limit|too many requests|resource[_ ]exhausted|throttl", 429),
        (r"overloaded|capacity", 529),
        (r"unavailable|(?:server|api|internal)_error|\bINTERNAL\b|internal (?:server )?error|try again|loading", 503),
        (r"timed? ?out|timeout|deadline_exceeded", 408),
        (r"authentication|invalid_api_key|unauthorized|unauthenticated", 401),
        (r"permission|forbidden", 403),
        (r"model_not_found|not_found_error|unknown_model", 404),
        (r"invalid_request|invalid_argument|bad_request", 400),
    )
)

_UNREACHED_TEXT: Final = re.compile(r"(?i)connection error|cannot connect|connect(?:ion)? (?:call failed|refused)")
_ADVICE: Final[Mapping[type[ClientError], str]] = {
    AuthenticationError: " (check the API key and its permissions)",
    QuotaExceededError: " (the account has no quota left: check its plan and billing)",
    ModelNotFoundError: " (check the model's name, and that this account and address offer it)",
    ThrottledError: " (too many requests at once: Limits(requests_per_minute=...) stays below the provider's rate)",
    TransientError: " (the fault is on the server's side: try again later)",
}
_TOO_LONG_ADVICE: Final = (
    " (the prompt is too long for this model: show it less history, or take a model with a longer context)"
)
_MODERATION_ADVICE: Final = " (the provider's moderation refused the prompt: word the task differently)"
_PAGE_ADVICE: Final = " (this address answered with a web page: is api_base right?)"
_NO_CAPACITY_ADVICE: Final = (
    " (this service tier has no capacity now; the standard one, without service_tier=, costs more)"
)
# What gateways say with a page while a server behind them is away. Any other page is another place than a model's.
_PASSING_PAGES: Final = (408, 425, 429)
_KEY_VARIABLE: Final = re.compile(r"\b[A-Z][A-Z0-9_]*_KEY\b")
_CLASS_PREFIX: Final = re.compile(r"^(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)(?::| -| \w+Error -)\s*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFacts:
    """What is known of a failed request. `status` is None where no server answered, or none that could be read.

    `unreadable`: a server answered well, with something that is no reply. `page`: one answered with a page for people.
    """

    status: int | None
    timed_out: bool
    local_status: int | None
    code: str | None
    parameter: str | None
    text: str
    headers: Mapping[str, str]
    unreadable: bool = False
    page: bool = False


def translate(
    facts: ErrorFacts,
    *,
    model: str,
    api_base: str | None = None,
    secrets: Sequence[str] = (),
    now: datetime | None = None,
) -> ClientError:
    """The `ClientError` that a failure amounts to; its message names the model, says what to do, and holds no key."""
    kind = classify(facts)
    code, advice = facts.code, _ADVICE.get(kind, "")
    if facts.page and not issubclass(kind, TransientError | ThrottledError):
        code, advice = WEB_PAGE, _PAGE_ADVICE
    elif kind is ClientError and (facts.status == 413 or code in _CONTEXT_CODES or _CONTEXT_TEXT.search(facts.text)):
        code, advice = TOO_LONG, _TOO_LONG_ADVICE
    elif kind is ClientError and _is_moderation(facts):
        advice = _MODERATION_ADVICE
    elif facts.status == 429 and kind is TransientError:
        code, advice = NO_CAPACITY, _NO_CAPACITY_ADVICE
    # Scrubbed before it is cut: half a key is not known for one.
    facts = replace(facts, text=scrub(facts.text[:MARGIN], secrets))
    answered = facts.page or facts.status is not None
    what = _answered(facts) if answered else f": {_unanswered(kind, facts)}"
    if facts.unreadable:
        what = f" answered with what is no reply (is that the address of its API?): {_detail(facts) or 'nothing'}"
    where = f" at {api_base}" if api_base else ""
    message = said(f"model {model!r}{where}{what}", MESSAGE_CHARS, secrets) + (advice if answered else "")
    wait = retry_after(facts.headers, now or datetime.now(UTC))
    return kind(message, retry_after=wait, status=facts.status, code=code)


def classify(facts: ErrorFacts) -> type[ClientError]:
    """The class of the error. Fatal findings come first; what is left is decided by the status."""
    text = facts.text
    if facts.page and not _is_passing(facts.status):
        return AuthenticationError if facts.status == 401 else ClientError
    if facts.unreadable:
        return TransientError
    if facts.status is None:
        return _classify_unanswered(facts)
    if facts.code in _QUOTA_CODES or facts.status == 402 or (facts.status < 500 and _QUOTA_TEXT.search(text)):
        return QuotaExceededError
    if facts.status in (400, 403, 422) and _is_moderation(facts):
        return ClientError
    if facts.code in _MODEL_CODES or facts.status == 404 or (facts.status in (400, 422) and _MODEL_TEXT.search(text)):
        return ModelNotFoundError
    if facts.status in (401, 403) or facts.code in _KEY_CODES or (facts.status == 400 and _BAD_KEY_TEXT.search(text)):
        return AuthenticationError
    if facts.status == 429:
        return TransientError if _lacks_capacity(facts) else ThrottledError
    if facts.status in (408, 409, 425, 498) or facts.status >= 500:  # 498: Groq's flexible tier is full
        return TransientError
    return ClientError


def _lacks_capacity(facts: ErrorFacts) -> bool:
    """Whether the flex tier is full for now: no request of ours was one too many."""
    return facts.code == NO_CAPACITY or bool(_NO_CAPACITY_TEXT.search(facts.text))


def _is_passing(status: int | None) -> bool:
    return status is not None and (status >= 500 or status in _PASSING_PAGES)


def _is_moderation(facts: ErrorFacts) -> bool:
    return facts.code in _MODERATION_CODES or bool(_MODERATION_TEXT.search(facts.text))


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


def facts_of(error: Exception, said: str = "") -> ErrorFacts:
    """The facts of `error`, read from it, from the errors it was made of, and from what the server `said`."""
    chain = list(_chain(error))
    headers = _headers(error)
    local_status = _status(error)
    # litellm rounds statuses it does not know to 400 and 500; the innermost error has the server's own, of a reply 200.
    own = next((s for link in reversed(chain) if (s := _status(link, lowest=200))), None) if headers else None
    status = None if own is not None and own < 400 else own
    unreadable = _is_unreadable(error, headers)
    body = read_body(_told(error, chain, said, failed=status is not None and not unreadable), headers)
    # Of a reply with the status 200 that could not be read, litellm may tell only the parser's words.
    unread = read_body(next((link.doc for link in chain if isinstance(link, json.JSONDecodeError)), ""), headers)
    if unread.kind == "page":
        body, unreadable = unread, True
    facts = ErrorFacts(
        status=status,
        timed_out=local_status == 408 and not headers,
        local_status=local_status,
        code="unsupported_params" if type(error).__name__ == "UnsupportedParamsError" else body.code,
        parameter=body.parameter,
        text=body.message,
        headers={"retry-after": body.wait, **headers} if body.wait else headers,
        unreadable=unreadable,
    )
    if body.kind == "page":
        return replace(facts, status=None if unreadable else status, unreadable=False, page=True)
    if status is not None and not unreadable:
        return facts
    inside = facts_in(_loaded(said), facts)
    if inside is None and said.strip():  # a model's words, perhaps, which tell nothing of the failure
        return replace(facts, status=None, code=None, parameter=None, text=said, headers=headers, unreadable=True)
    return inside or facts


def _told(error: Exception, chain: Sequence[BaseException], said: str, *, failed: bool) -> str:
    """What the server told: of a request that `failed`, `said` may be LiteLLM's own words."""
    heard = _heard(chain)
    if failed:
        return heard if heard is not None else said or str(error)
    return said.strip() or heard or str(error)


def _heard(chain: Sequence[BaseException]) -> str | None:
    """What the server said with a status of failure, of the innermost error that kept its response."""
    for link in reversed(chain):
        with contextlib.suppress(RuntimeError):  # httpx's, for a response that was not read
            text = getattr(getattr(link, "response", None), "text", None)
            if isinstance(text, str):
                return text
    return None


def _is_unreadable(error: Exception, headers: Mapping[str, str]) -> bool:
    """Whether LiteLLM stumbled over a reply, whatever status it gave to that."""
    text = str(error)
    return bool(_STUMBLED_TEXT.search(text) or (not headers and _NO_JSON_TEXT.search(text)))


def facts_in(document: Any, known: ErrorFacts | None = None) -> ErrorFacts | None:
    """The facts of an error that a server put into a reply, and what is `known` besides; None if there is none."""
    found = _error_in(document)
    if found is None:
        return None
    body = {"message": found} if isinstance(found, str) else found
    told = read_body(json.dumps({"error": found}, ensure_ascii=False), {})
    own = UNPROCESSABLE if known is None or known.unreadable else known.status or UNPROCESSABLE
    headers = known.headers if known else {}
    return ErrorFacts(
        status=_status_of(body, told.code, told.message) or own,
        timed_out=False,
        local_status=None,
        code=told.code,
        parameter=told.parameter,
        text=told.message,
        headers={**headers, "retry-after": told.wait} if told.wait else headers,
    )


def _error_in(document: Any) -> Mapping[str, Any] | str | None:
    """The error of a reply: on top, in a list, in its first choice, or the whole of it."""
    if not isinstance(document, Mapping):
        return None
    choices, errors = document.get("choices"), document.get("errors")
    first = choices[0] if isinstance(choices, list) and choices else None
    places = [document.get("error"), first.get("error") if isinstance(first, Mapping) else None]
    places += errors[:1] if isinstance(errors, list) else []
    if not choices and isinstance(document.get("message") or document.get("detail"), str):
        places.append(document)
    return next((place for place in places if isinstance(place, str | Mapping) and place), None)


def _status_of(body: Mapping[str, Any], code: str | None, text: str) -> int | None:
    """The status that the error would have had, None if it does not say."""
    numbers = (_number(body.get(name)) for name in ("code", "status", "status_code", "statusCode"))
    named = next((number for number in numbers if number is not None and 400 <= number < 600), None)
    if named is not None:
        return named
    words = " ".join(filter(None, [code, text]))
    return next((status for pattern, status in _STATUS_WORDS if pattern.search(words)), None)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


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


def _status(error: BaseException, lowest: int = 400) -> int | None:
    for owner in (error, getattr(error, "response", None)):
        status = getattr(owner, "status_code", None)
        if isinstance(status, int) and lowest <= status < 600:
            return status
    return None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _detail(facts: ErrorFacts) -> str:
    lines = _CLASS_PREFIX.sub("", facts.text.strip()).splitlines() or [""]
    first = lines[0].strip()
    return first if len(first) <= DETAIL_CHARS else first[:DETAIL_CHARS] + " ..."


def _answered(facts: ErrorFacts) -> str:
    """What was answered; the code in parentheses, since what follows `invalid_api_key:` would pass for a secret."""
    said = "" if facts.status is None else f" {facts.status}"
    said += (f" ({facts.code})" if facts.code else "") + (f" for {facts.parameter!r}" if facts.parameter else "")
    what = _detail(facts)
    if facts.page:
        what = f"a web page, {what!r}" if what else "a web page"
    return f" answered{said}: {what or 'nothing more, its body was empty'}"


def _unanswered(kind: type[ClientError], facts: ErrorFacts) -> str:
    if kind is AuthenticationError:
        names = list(dict.fromkeys(_KEY_VARIABLE.findall(facts.text)))
        return f"no API key; set {names[0] if names else 'the environment variable of its provider'}, or pass api_key"
    if kind is ModelNotFoundError:
        return "no provider of that name; write it as 'provider/model', such as 'openai/gpt-5.4-mini'"
    if kind is DeadlineExceededError:
        return "no answer within the timeout"
    if kind is TransientError and _UNREACHED_TEXT.search(facts.text):
        return f"the connection failed: {_detail(facts)}"
    return _detail(facts) or "no usable answer"
