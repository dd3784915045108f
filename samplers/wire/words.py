"""What a prompt says where a schema does not: the form of the answer, choices, and that a function is to be called."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, str]]


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A document that the schema allows: middles of ranges, first choices."""
    return {name: _placeholder(part) for name, part in schema.get("properties", {}).items()}


def with_instructions(messages: Messages, schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """Add the form of the answer, and choices that the messages do not name: the model hears of them nowhere else."""
    filled = json.dumps(example(schema), ensure_ascii=False)
    form = (
        "Answer with one JSON object and nothing else. It has exactly these keys, in this order, as in this example, "
        f"whose values are only placeholders:\n{filled}"
    )
    return with_words(messages, form, *_untold_choices(messages, schema))


def with_choices(messages: Messages, schema: Mapping[str, Any], sent: Mapping[str, Any]) -> list[dict[str, str]]:
    """Add the choices that neither the messages name nor the schema that is `sent` in place of the whole one."""
    told = {name for name, part in sent.get("properties", {}).items() if "enum" in part}
    left = {name: part for name, part in schema.get("properties", {}).items() if name not in told}
    return with_words(messages, *_untold_choices(messages, {"properties": left}))


def with_words(messages: Messages, *paragraphs: str) -> list[dict[str, str]]:
    """Add paragraphs to the end of the first user message: a re-ask then leaves the prefix as it was."""
    place = _first_of_user(messages)
    added = [dict(message) for message in messages]
    added[place]["content"] = "\n\n".join([added[place]["content"], *paragraphs])
    return added


def _first_of_user(messages: Messages) -> int:
    return next((n for n, message in enumerate(messages) if message["role"] == "user"), len(messages) - 1)


def _untold_choices(messages: Messages, schema: Mapping[str, Any]) -> list[str]:
    """One paragraph on the keys that have choices of which the prompt does not speak; none if there are none."""
    told = "\n".join(message["content"] for message in messages[: _first_of_user(messages) + 1])
    lines = []
    for name, part in schema.get("properties", {}).items():
        choices = [json.dumps(choice, ensure_ascii=False) for choice in part.get("enum", ())]
        if any(choice not in told for choice in choices):
            lines.append(f"{json.dumps(name, ensure_ascii=False)}: {', '.join(choices)}")
    return ["\n".join(["All values that these keys may have:", *lines])] if lines else []


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
