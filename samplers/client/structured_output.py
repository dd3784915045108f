"""How a model is made to answer with one JSON document: a ladder of ways, the strictest first. All of it is pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Literal, get_args

from .errors import TOO_LONG, AuthenticationError, ClientError, QuotaExceededError
from .protocol import Request

Mode = Literal["json_schema", "tool", "json_object", "prompt"]
"""A strict JSON schema; a function that must be called; any JSON object; nothing but words."""

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
FUNCTION: Final = "propose_configuration"

_ABOUT_STRUCTURE: Final = re.compile(
    r"(?i)response[_ ]format|json[_ ]?schema|json[_ ]mode|json_object|structured output|\bschema\b|grammar"
    r"|tool[_ ]choice|\btools?(?:\b|_)|function call|call a function|additionalProperties|output_(?:format|config)"
    r"|json_validate_failed|no endpoints found that (?:support|can handle)"
)


class SchemaRejectedError(ClientError):
    """The server does not take the request in this mode; the client has stepped down, so it may be sent again."""

    transient: ClassVar[bool] = True
    at_once: ClassVar[bool] = True


def next_mode(mode: Mode) -> Mode | None:
    """One step down; None at the bottom."""
    place = MODES.index(mode) + 1
    return MODES[place] if place < len(MODES) else None


def is_about_structure(error: ClientError, mode: Mode, names: Iterable[str] = ()) -> bool:
    """Whether a refusal is one of the mode in which the request was sent, and not of the request.

    `names`, of the model and the server, say nothing: a model may well be called "tool-use".
    """
    if error.code == TOO_LONG or isinstance(error, AuthenticationError | QuotaExceededError) or mode == "prompt":
        return False
    if error.status not in (400, 404, 415, 422, 501) and error.code != "unsupported_params":
        return False
    text = str(error)
    for name in filter(None, names):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "", text)
    return bool(_ABOUT_STRUCTURE.search(text))


def arguments(request: Request, mode: Mode) -> dict[str, Any]:
    """What a chat completion is called with: the messages, and how to answer."""
    messages = [dict(message) for message in request.messages]
    schema = dict(request.schema)
    match mode:
        case "json_schema":
            wanted = {"name": "configuration", "strict": True, "schema": schema}
            return {"messages": messages, "response_format": {"type": "json_schema", "json_schema": wanted}}
        case "tool":
            function = {"name": FUNCTION, "description": "Answer with one configuration.", "parameters": schema}
            return {
                "messages": messages,
                "tools": [{"type": "function", "function": function}],
                "tool_choice": {"type": "function", "function": {"name": FUNCTION}},
                "_skip_mcp_handler": True,  # LiteLLM would import a package that it does not require
            }
        case "json_object":
            return {"messages": _instructed(messages, schema), "response_format": {"type": "json_object"}}
        case "prompt":
            return {"messages": _instructed(messages, schema)}


def text_of(message: Any) -> str:
    """The document in a reply's message: what the function was called with, else the content."""
    for call in getattr(message, "tool_calls", None) or ():
        given = getattr(getattr(call, "function", None), "arguments", None)
        if isinstance(given, str) and given:
            return given
    return getattr(message, "content", None) or ""


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A document that the schema allows: middles of ranges, first choices."""
    return {name: _middle(part) for name, part in schema.get("properties", {}).items()}


def _instructed(messages: list[dict[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """The form of the answer at the end of the prompt proper, so that a re-ask leaves all before it as it was."""
    filled = json.dumps(example(schema), ensure_ascii=False)
    form = (
        "Answer with one JSON object and nothing else. It has exactly these keys, in this order, as in this example, "
        f"whose values are only placeholders:\n{filled}"
    )
    place = next((n for n, message in enumerate(messages) if message["role"] == "user"), len(messages) - 1)
    prompt = messages[place]
    return [*messages[:place], {**prompt, "content": f"{prompt['content']}\n\n{form}"}, *messages[place + 1 :]]


def _middle(part: Mapping[str, Any]) -> Any:
    if part.get("enum"):
        return part["enum"][0]
    low, high = part.get("minimum", 0), part.get("maximum", 1)
    match part.get("type"):
        case "integer":
            return (low + high) // 2
        case "number":
            return low / 2 + high / 2
        case _:
            return "why this configuration"
