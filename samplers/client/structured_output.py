"""Ways to have a model answer with one JSON document, the strictest first. All of it is pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Literal, get_args

from .errors import TOO_LONG, AuthenticationError, ClientError, QuotaExceededError
from .protocol import Request

# A strict JSON schema; a function that must be called; any JSON object; nothing but words.
Mode = Literal["json_schema", "tool", "json_object", "prompt"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
FUNCTION: Final = "propose_configuration"

_ABOUT_STRUCTURE: Final = re.compile(
    r"(?i)response[_ ]format|json[_ ]?schema|json[_ ]mode|json_object|structured output|\bschema\b|grammar"
    r"|tool[_ ]choice|\btools?(?:\b|_)|function call|call a function|additionalProperties|output_(?:format|config)"
    r"|json_validate_failed|no endpoints found that (?:support|can handle)"
)


class SchemaRejectedError(ClientError):
    """The server refused the mode of a request; the client has stepped down to another one, so it is sent again."""

    transient: ClassVar[bool] = True
    at_once: ClassVar[bool] = True


def next_mode(mode: Mode) -> Mode | None:
    """The next less strict mode; None after the last."""
    place = MODES.index(mode) + 1
    return MODES[place] if place < len(MODES) else None


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
    return bool(_ABOUT_STRUCTURE.search(text))


def arguments(request: Request, mode: Mode) -> dict[str, Any]:
    """The arguments of a chat completion: the messages, and how to answer."""
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
            return {"messages": with_instructions(messages, schema), "response_format": {"type": "json_object"}}
        case "prompt":
            return {"messages": with_instructions(messages, schema)}


def text_of(message: Any) -> str:
    """The document in a reply's message: the arguments of the function call, else the content."""
    for call in getattr(message, "tool_calls", None) or ():
        given = getattr(getattr(call, "function", None), "arguments", None)
        if isinstance(given, str) and given:
            return given
    return getattr(message, "content", None) or ""


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A document that the schema allows: middles of ranges, first choices."""
    return {name: _placeholder(part) for name, part in schema.get("properties", {}).items()}


def with_instructions(messages: list[dict[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """Add the form of the answer to the end of the first user message: a re-ask then leaves the prefix as it was."""
    filled = json.dumps(example(schema), ensure_ascii=False)
    form = (
        "Answer with one JSON object and nothing else. It has exactly these keys, in this order, as in this example, "
        f"whose values are only placeholders:\n{filled}"
    )
    place = next((n for n, message in enumerate(messages) if message["role"] == "user"), len(messages) - 1)
    prompt = messages[place]
    return [*messages[:place], {**prompt, "content": f"{prompt['content']}\n\n{form}"}, *messages[place + 1 :]]


def _placeholder(part: Mapping[str, Any]) -> Any:
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
