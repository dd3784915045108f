"""Ways to have a model answer with one JSON document, the strictest first, and what leads from one to the next."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from .schemas import BOUNDS, without_bounds, without_long_choices
from .words import Messages, with_choices, with_instructions, with_words

# A strict JSON schema; the same with types and choices alone; a function to call; any JSON object; nothing but words.
Mode = Literal["json_schema", "json_schema_without_bounds", "tool", "json_object", "prompt"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
FUNCTION: Final = "propose_configuration"
CALL_IT: Final = f"Answer by calling the function {FUNCTION}, once, and with nothing else."

# Gemini sorts the keys of a function's parameters unless it is told their order; LiteLLM tells it a schema's alone.
SORTING_PROVIDERS: Final = ("gemini/", "vertex_ai/gemini")

_ABOUT_STRUCTURE: Final = re.compile(
    r"(?i)response[_ ]format|json[_ ]?schema|json[_ ]mode|json_object|structured output|\bschema\b|grammar"
    r"|tool[_ ]choice|\btools?(?:\b|_)|function call|call a function|additionalProperties|output_(?:format|config)"
    r"|json_validate_failed|no endpoints found that (?:support|can handle)"
)
_BOUND_NAME: Final = rf"\b(?:{'|'.join(BOUNDS)})\b"
_REFUSED: Final = r"(?:not (?:supported|permitted|allowed|implemented)|unsupported|unknown|unrecogni[sz]ed)"
# A bound that is refused by its name, in either order.
_ABOUT_BOUNDS: Final = re.compile(rf"(?i){_BOUND_NAME}.{{0,80}}{_REFUSED}|{_REFUSED}.{{0,80}}{_BOUND_NAME}", re.DOTALL)
# A schema that a host has understood, and cannot compile: Anthropic, Gemini, OpenAI, llama.cpp, in this order.
_ABOUT_SIZE: Final = re.compile(
    r"(?i)(?:schema|grammar)\b.{0,60}\b(?:too (?:complex|large|big|long|deep)|complexity|compil|exceeds)"
    r"|simplify(?:ing)? your|too many (?:states|properties|parameters|enum|rules|choices)"
    r"|at most [\d,]+ (?:enum|object|propert)|enum values in total|failed to parse grammar"
)
_THOUGHTS_FORBID_FORCE: Final = re.compile(
    r"(?i)thinking may not be enabled when tool_choice|tool_choice.{0,60}(?:forces?|required).{0,60}(?:think|reasoning)"
    r"|(?:think|reasoning).{0,60}(?:does not support|incompatible with).{0,60}tool_choice"
)

# What a user's own arguments may say of thinking, and the words that say there is to be none.
_NO_THOUGHTS: Final = (None, False, 0, "", "none", "disable", "disabled", "off")
_THINKING: Final = ("thinking", "reasoning_effort", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a server is asked: in which mode, whether a call is forced, whether the prompt is marked for its cache.

    `room`: completion tokens for the thoughts of a model that LiteLLM's table does not know to have any.
    """

    mode: Mode
    forced: bool = True
    marks: bool = False
    room: int = 0

    def following(self, asked: "Manner", left: "Manner") -> "Manner":
        """This manner, with the step from one to another where it has not been taken yet."""
        names = [field.name for field in fields(self) if getattr(self, field.name) == getattr(asked, field.name)]
        return replace(self, **{name: getattr(left, name) for name in names})

    def words(self, asked: "Manner") -> str:
        """What has changed since a manner of before."""
        steps = {
            "leaving less room for thoughts": self.room < asked.room,
            "leaving more room for thoughts": self.room > asked.room,  # another request has seen the model think
            f"asking in mode {self.mode!r}": self.mode != asked.mode,
            "letting the model think before it calls": self.forced != asked.forced,
            "marking nothing for the cache": self.marks != asked.marks,
        }
        return ", ".join(words for words, taken in steps.items() if taken)


def next_mode(mode: Mode, refusal: str) -> Mode | None:
    """The mode to take when a server refuses one in these words; None after the last.

    Leaving out the bounds helps where it refuses these, or the size of the schema, and not where it takes no schema.
    """
    place = MODES.index(mode) + 1
    if mode == "json_schema" and not is_about_bounds(refusal):
        place += 1
    return MODES[place] if place < len(MODES) else None


def is_about_bounds(refusal: str) -> bool:
    """Whether a server takes schemas, but not this one's bounds, or not so large a one."""
    return bool(_ABOUT_BOUNDS.search(refusal) or _ABOUT_SIZE.search(refusal))


def is_about_mode(refusal: str) -> bool:
    """Whether the words of a refusal speak of how the answer is held to its schema."""
    return bool(_ABOUT_STRUCTURE.search(refusal)) or is_about_bounds(refusal)


def is_about_force(refusal: str) -> bool:
    """Whether a server refuses that a function must be called, because the model is to think first."""
    return bool(_THOUGHTS_FORBID_FORCE.search(refusal))


def thinks(arguments: Mapping[str, Any]) -> bool:
    """Whether a user's own arguments, or those inside `extra_body`, turn a model's thinking on."""
    inner = arguments.get("extra_body")
    places = [arguments, *([inner] if isinstance(inner, Mapping) else [])]
    return any(_is_on(place[name]) for place in places for name in _THINKING if name in place)


def _is_on(value: Any) -> bool:
    """Of `"high"`, `{"type": "enabled"}`, `{"effort": "low"}`, `{"enabled": True}`, `{"max_tokens": 9}` and such."""
    if isinstance(value, Mapping):
        decisive = [value[name] for name in ("type", "enabled", "effort", "max_tokens") if name in value]
        return all(map(_is_on, decisive))
    return value not in _NO_THOUGHTS


def completion_arguments(
    messages: Messages, schema: Mapping[str, Any], mode: Mode, *, forced: bool = True, ordered: bool = False
) -> dict[str, Any]:
    """The arguments of a chat completion: the messages, and how to answer.

    `forced`: a function must be called. Thinking forbids it with some providers, and then words ask for the call.
    A function's parameters have no bounds: they are refused where the schema's are, and compiled hardly anywhere.
    `ordered`: these say in which order they come, in Gemini's word for it.
    """
    if mode in ("json_object", "prompt"):
        wanted: dict[str, Any] = {"response_format": {"type": "json_object"}} if mode == "json_object" else {}
        return {"messages": with_instructions(messages, schema), **wanted}
    sent = without_long_choices(schema if mode == "json_schema" else without_bounds(schema))
    told = with_choices(messages, schema, sent)
    if mode != "tool":
        document = {"name": "configuration", "strict": True, "schema": sent}
        return {"messages": told, "response_format": {"type": "json_schema", "json_schema": document}}
    if ordered:
        sent["propertyOrdering"] = list(sent.get("properties", {}))
    function = {"name": FUNCTION, "description": "Answer with one configuration.", "parameters": sent}
    return {
        "messages": told if forced else with_words(told, CALL_IT),
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": FUNCTION}} if forced else "auto",
        "_skip_mcp_handler": True,  # LiteLLM would import a package that it does not require
    }
