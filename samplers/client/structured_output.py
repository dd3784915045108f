"""What came of a request for one JSON document: a refusal of how it was asked for, or the document. All pure."""

import functools
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from ...engine.study.attributes import as_amount, as_mapping
from ..wire.cache_marks import is_about_marks
from ..wire.ladder import Manner, Mode, is_about_force, is_about_mode, next_mode
from .errors import TOO_LONG, AuthenticationError, ClientError, QuotaExceededError
from .protocol import Prices, Reply, Usage

# A document, perhaps in a fence, and nothing after it.
_ENDS_WITH_DOCUMENT: Final = re.compile(r"\}\s*(?:```)?\s*\Z")

# Why Anthropic's and Gemini's models ended, in OpenAI's words.
_REASONS: Final = {"end_turn": "stop", "tool_use": "stop", "max_tokens": "length", "safety": "content_filter"}

_ABOUT_ROOM: Final = re.compile(r"(?i)max_(?:completion_|output_|new_)?tokens|maximum (?:output|completion) tokens")

# A server that refuses so much room for thoughts is asked with a quarter of it, and in the end with none.
ROOM_FACTOR: Final = 4
LEAST_ROOM: Final = 512

_THOUGHT: Final = re.compile(r"</?(?:think|thinking|reasoning)>", re.IGNORECASE)


class SchemaRejectedError(ClientError):
    """The server refused how it was asked; the client has stepped down to another way, so the request is sent again."""

    transient: ClassVar[bool] = True
    at_once: ClassVar[bool] = True


def is_about_structure(error: ClientError, mode: Mode, names: Iterable[str] = ()) -> bool:
    """Whether a server refused the mode in which the request was sent, and not the request itself.

    `names` of the model and the server are left out of the text: a model may well be called "tool-use".
    """
    if error.code == TOO_LONG or isinstance(error, AuthenticationError | QuotaExceededError) or mode == "prompt":
        return False
    if error.status not in (400, 404, 415, 422, 501) and error.code != "unsupported_params":
        return False
    text = str(error)
    for name in filter(None, names):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "", text)
    return is_about_mode(text)


def is_about_room(error: ClientError) -> bool:
    """Whether a server refused the number of tokens that a request may complete, or that and its prompt together."""
    return error.code == TOO_LONG or (error.status in (400, 413, 422) and bool(_ABOUT_ROOM.search(str(error))))


def without_refused(asked: Manner, error: ClientError, names: Iterable[str] = ()) -> Manner | None:
    """The manner without what a server refused of it; None if it refused something else, or nothing is left to give up.

    `names` are as in `is_about_structure`.
    """
    refusal = str(error)
    if asked.room and is_about_room(error):
        return replace(asked, room=asked.room // ROOM_FACTOR if asked.room > LEAST_ROOM else 0)
    if asked.marks and error.status in (400, 404, 422) and is_about_marks(refusal):
        return replace(asked, marks=False)
    if not is_about_structure(error, asked.mode, names):
        return None
    if is_about_force(refusal) and asked.forced:
        asked = replace(asked, forced=False)
        if asked.mode == "tool":
            return asked
    lower = next_mode(asked.mode, refusal)
    return None if lower is None else replace(asked, mode=lower)


# -- replies


class Heard:
    """What the server said, word for word; LiteLLM calls it while it reads a reply, on nearly every route."""

    def __init__(self) -> None:
        self.text = ""
        self._began = time.monotonic()

    def __call__(self, details: Mapping[str, Any]) -> None:
        said = details.get("original_response")
        if details.get("log_event_type") == "post_api_call" and isinstance(said, str):
            self.text = self.text or said  # what follows are LiteLLM's own words

    @property
    def seconds(self) -> float:
        """Since the request was begun."""
        return time.monotonic() - self._began

    @functools.cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON object that was said, empty if it was none; asked for once all is said."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def choices(self) -> Sequence[Any] | None:
        """The choices of a reply, in OpenAI's form whoever gave it; empty if null, and None for what is no reply."""
        document = self.document
        if "choices" in document:
            return document["choices"] or () if isinstance(document["choices"], list | None) else None
        if "candidates" in document:  # Gemini's
            found = _entries(document["candidates"])
            return [
                _choice(field_of(field_of(one, "content"), "parts"), field_of(one, "finishReason")) for one in found
            ]
        if document.get("type") == "message":  # Anthropic's
            return [_choice(document.get("content"), document.get("stop_reason"))]
        if "done" in document:  # Ollama's
            return [{"message": document.get("message"), "finish_reason": document.get("done_reason")}]
        return None

    @property
    def parts(self) -> Any:
        """The content of a chat completion's first choice, where it is a list of parts, else None."""
        choices = _entries(self.document.get("choices"))
        content = field_of(field_of(choices[0], "message"), "content") if choices else None
        return content if isinstance(content, list) else None

    def usage(self, prices: Prices) -> Usage | None:
        """What the server said that it took; None if it said nothing of the kind."""
        said = as_mapping(self.document.get("usage"))
        prompt, completion = (as_amount(said.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        if not prompt or completion is None:
            return None
        tokens = math.ceil(prompt), math.ceil(completion)
        cost = prices.usd(*tokens) if prices.known else None
        return Usage(prompt_tokens=tokens[0], completion_tokens=tokens[1], cost=cost)


def _choice(parts: Any, reason: Any) -> dict[str, Any]:
    word = reason.lower() if isinstance(reason, str) else None
    return {"message": {"content": parts}, "finish_reason": _REASONS.get(word or "", word)}


def reply_in(choice: Any, heard: Heard, *, model: Any, usage: Usage | None = None) -> Reply:
    """The reply in a choice, of LiteLLM or as the server sent it."""
    message, reason = field_of(choice, "message"), field_of(choice, "finish_reason")
    text = text_of(message, reason)
    text = content_text(heard.parts) or text  # of several parts, LiteLLM keeps one on some routes
    fields = field_of(message, "provider_specific_fields") or {}
    # LiteLLM has moved it from one place to the other.
    refused = bool(field_of(fields, "refusal") or field_of(message, "refusal")) and not text
    return Reply(
        text=text,
        model=model if isinstance(model, str) else None,
        finish_reason="refusal" if refused else reason if isinstance(reason, str) else None,
        usage=usage,
        latency=heard.seconds,
    )


def usage_in(response: Any, cost: Callable[[Any], float | None]) -> Usage | None:
    """What LiteLLM's response says that it took; None where the provider said nothing, and LiteLLM filled in zeros."""
    usage: Any = getattr(response, "usage", None)
    if not getattr(usage, "prompt_tokens", 0):
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        written_tokens=getattr(details, "cache_creation_tokens", None) or 0,
        cost=cost(usage),
    )


def quota_in(response: Any) -> dict[str, str] | None:
    """The provider's own rate-limit headers, as LiteLLM's response keeps them; None if it sent none."""
    headers = (getattr(response, "_hidden_params", None) or {}).get("additional_headers") or {}
    named = {str(name).removeprefix("llm_provider-"): str(value) for name, value in headers.items()}
    return {name: value for name, value in named.items() if "ratelimit" in name} or None


def text_of(message: Any, finish_reason: str | None = None) -> str:
    """The document in a reply's message, of LiteLLM or as the server sent it.

    The arguments of the function call, else the content, else what stands at the end of the thoughts: some servers take
    an answer for a thought. What was cut off has no end.
    """
    for call in _entries(field_of(message, "tool_calls")):
        given = field_of(field_of(call, "function"), "arguments")
        if isinstance(given, str) and given:
            return given
    content = content_text(field_of(message, "content"))
    if content.strip() or finish_reason == "length":
        return content
    thoughts = thoughts_of(message)
    return thoughts if _ENDS_WITH_DOCUMENT.search(thoughts) else content


def content_text(content: Any) -> str:
    """The text of a message's content: a string, a document, or parts, of which thoughts are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return json.dumps(content)
    return "".join(map(_part_text, _entries(content)))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if field_of(part, "type") == "tool_use":
        return json.dumps(field_of(part, "input"))
    text = field_of(part, "text")
    known = field_of(part, "type") in (None, "text", "output_text") and not field_of(part, "thought")
    return text if known and isinstance(text, str) else ""


def thoughts_of(message: Any) -> str:
    """What a model thought before it answered, where the server tells it apart from the answer."""
    named = (field_of(message, name) for name in ("reasoning_content", "reasoning", "thinking"))
    return next((thoughts for thoughts in named if isinstance(thoughts, str) and thoughts), "")


def is_cut_in_thought(message: Any, finish_reason: str | None) -> bool:
    """Whether a model's tokens ended while it was still thinking, or in an answer because it had been thinking."""
    if finish_reason != "length":
        return False
    content = content_text(field_of(message, "content"))
    opened = _THOUGHT.findall(content)
    return bool(thoughts_of(message) or (opened and not opened[-1].startswith("</")))


def field_of(thing: Any, name: str) -> Any:
    """A field of an object or of a JSON object; None if it has none."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _entries(thing: Any) -> Sequence[Any]:
    return thing if isinstance(thing, list | tuple) else ()
