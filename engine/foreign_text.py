"""Text from outside, as it may be written down: a provider's, an exception's, another process's.

It brings no escapes that a terminal would obey, no line breaks that would pass for lines of a log, and no secrets.
"""

import re
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final

from .secrets import scrub

MESSAGE_LENGTH: Final = 500  # characters: a sentence or two of an exception

# Characters that are searched for secrets beyond what is kept, so that none is cut in two: a private key has 3,200.
MARGIN: Final = 8192


# A terminal's escape sequences: colours, cursor, title. They might stand between a secret and its name.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[@-Z\\^_])")


def clean(text: str, length: int) -> str:
    """Put `text` on one line of at most `length` characters, without control characters and lone surrogates."""
    head = text[: 8 * length]  # white space collapses below; what is longer than this is not even looked at
    line = " ".join((head if head.isprintable() else "".join(c if c.isprintable() else " " for c in head)).split())
    if len(line) <= length and len(head) == len(text):
        return line
    return line[: length - 3].rstrip() + "..."


def printable(text: str) -> str:
    """Replace control characters and lone surrogates by blanks, and keep the lines."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text.expandtabs(4))


def said(text: str, length: int = MESSAGE_LENGTH, secrets: Iterable[str] = ()) -> str:
    """Foreign text as a message or a line of a log may quote it: cleaned, without `secrets` and what looks like one."""
    return clean(scrub(_ESCAPES.sub("", text[: 8 * length + MARGIN]), secrets), length)


def text_of(thing: object, write: Callable[[Any], str] = str) -> str:
    """The text of something of the user's, whose class may raise when it is asked for one."""
    try:
        return write(thing)
    except Exception as error:
        return f"<{type(thing).__name__}, whose text raises {type(error).__name__}>"


def summary(error: BaseException) -> str:
    """An error's type and message on one line, as Python shows them under a traceback."""
    message = said(text_of(error))
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def traceback_of(error: BaseException, length: int) -> str:
    """The last `length` characters of an error's traceback, line by line."""
    text = text_of(error, lambda _: "".join(traceback.format_exception(error)))
    return printable(scrub(_ESCAPES.sub("", text[-length - MARGIN :])))[-length:]
