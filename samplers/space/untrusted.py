"""Text from outside, on its way into a prompt or a message: short, printable, on one line, without secrets."""

import json
import re
from typing import Any

from ...engine.errors import scrub

SHOWN_LENGTH = 48  # a violation that quotes two values stays under 250 characters
LONGEST_NUMBER = 600  # characters; Python may refuse to convert integers of more than 640
SHOWN_BITS = 128  # an integer of so many bits has 39 digits, about as many as a string may show

_PATH = re.compile(r"(?:[A-Za-z]:\\|~?/)[^\s'\",;:)\]}]*[\\/][^\s'\",;:)\]}]*")


def clean(text: str, length: int) -> str:
    """Put `text` on one line of at most `length` characters, without control characters and lone surrogates."""
    head = text[: 8 * length]  # white space collapses below; what is longer than this is not even looked at
    line = " ".join("".join(c if c.isprintable() else " " for c in head).split())
    if len(line) <= length and len(head) == len(text):
        return line
    return line[: length - 3].rstrip() + "..."


def quote(text: str, length: int) -> str:
    """Clean `text`, and write it as a JSON string: data that cannot end its own quotation."""
    return json.dumps(clean(text, length), ensure_ascii=False)


def redact(text: str) -> str:
    """Remove file paths, and anything that looks like a key, from `text`."""
    return scrub(_PATH.sub("<path>", text))


def show(value: Any) -> str:
    """Write any value as one short printable line, to be quoted in a message."""
    if isinstance(value, str):
        return repr(clean(value, SHOWN_LENGTH))
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        bits = value.bit_length()
        return f"an integer of {bits} bits" if bits > SHOWN_BITS else str(value)
    if isinstance(value, float):
        return repr(float(value))
    names = {type(None): "null", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
