"""Marks in a prompt up to which a provider keeps it in its cache, for those that cache at marks. All pure.

Anthropic caches up to a mark, at least a model's smallest size, and finds an earlier request's prefix only where that
ended with a content part, within the 20 parts before a mark; at most four marks a request
(docs.claude.com/en/docs/build-with-claude/prompt-caching). OpenAI's models from GPT-5.6 on find a prefix only at a mark
that both requests have, write up to four, and bill writes, among them that of a mark of their own at the last message,
which changes with every ask, unless the request says that its own marks are all
(developers.openai.com/api/docs/guides/prompt-caching). LiteLLM puts Anthropic's marks into the words of the others.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

MARK: Final = {"type": "ephemeral"}
MOST_MARKS: Final = 4

_CLAUDE: Final = re.compile(r"(?i)claude|anthropic")
_HOSTS_OF_CLAUDE: Final = ("bedrock", "vertex_ai", "openrouter")
_OPTIONS: Final = "prompt_cache_options"
# With these in a user's arguments, Anthropic or LiteLLM sets marks of its own: ours could be too many beside them.
_MARKS_OF_OTHERS: Final = ("cache_control", "cache_control_injection_points")
# A server may also refuse the parts that carry the marks: it wants strings.
_ABOUT_MARKS: Final = re.compile(
    r"(?i)cache[_ ]control|cache[_ ]?points?\b|prompt_cache_(?:options|breakpoint)|prompt caching"
    r"|\b(?:content|messages)\b.{0,60}\b(?:(?:must|should) be|expected) a (?:valid )?string"
)


def is_about_marks(refusal: str) -> bool:
    """Whether a server refuses to be told what to cache, or a message in parts."""
    return bool(_ABOUT_MARKS.search(refusal))


def caches_at_marks(model: str, info: Mapping[str, Any], *, api_base: str | None, extra: Mapping[str, Any]) -> bool:
    """Whether to mark prompts for the provider of a LiteLLM model string; `info` is what LiteLLM's table says of it.

    An address of one's own may be any server: it is taken for OpenAI's only where `extra` has OpenAI's options. Whoever
    has marks set in another way, in `extra`, gets no others.
    """
    if any(extra.get(name) for name in _MARKS_OF_OTHERS):
        return False
    provider, _, name = model.partition("/")
    if provider == "openai":
        return bool(info.get("supports_prompt_cache_breakpoint")) and (not api_base or _options(extra) is not None)
    if provider in _HOSTS_OF_CLAUDE and _CLAUDE.search(name):
        return provider != "bedrock" or bool(info.get("supports_prompt_caching"))  # it refuses marks for old models
    return provider == "anthropic"


def mark_arguments(model: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What goes with marked messages, and over the arguments of the user in `extra`, whose own options win."""
    if not model.startswith("openai/") or _options(extra) is not None:
        return {}
    inner = extra.get("extra_body")
    return {"extra_body": {**(inner if isinstance(inner, Mapping) else {}), _OPTIONS: {"mode": "explicit"}}}


def marked(messages: Sequence[Mapping[str, str]], ends: Sequence[int]) -> list[dict[str, Any]]:
    """The same messages in parts: the system's as one, with a mark; the first user message's split at `ends`.

    Of the user's parts the last has no mark, and of those before it the last three have one. Other messages, and texts
    that are not split, stay strings.
    """
    parted: list[dict[str, Any]] = [dict(message) for message in messages]
    system, user = (next((one for one in parted if one["role"] == role), None) for role in ("system", "user"))
    if system is not None and system["content"].strip():
        system["content"] = [_part(system["content"], mark=True)]
    if user is not None and len(texts := _split(user["content"], ends)) > 1:
        last = len(texts) - 1
        # One of the marks is the system's.
        user["content"] = [_part(text, mark=last - MOST_MARKS < n < last) for n, text in enumerate(texts)]
    return parted


def _split(text: str, ends: Sequence[int]) -> list[str]:
    """The text in parts that end at `ends`, and the rest; none is blank, because Anthropic refuses blank parts."""
    texts, start = [], 0
    for end in sorted(ends):
        if end > start and text[start:end].strip() and text[end:].strip():
            texts.append(text[start:end])
            start = end
    return [*texts, text[start:]]


def _part(text: str, *, mark: bool) -> dict[str, Any]:
    return {"type": "text", "text": text, **({"cache_control": dict(MARK)} if mark else {})}


def _options(extra: Mapping[str, Any]) -> Any:
    inner = extra.get("extra_body")
    return extra.get(_OPTIONS, inner.get(_OPTIONS) if isinstance(inner, Mapping) else None)
