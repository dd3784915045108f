"""Python source as a prompt may show it: without paths and secrets, and whole but for those."""

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from ...engine.foreign_text import printable
from ...engine.secrets import REMOVED
from ..space.notation import redact

# A name that a literal is bound to: `api_key=`, `"password":`, `environ["HF_TOKEN"] =`; not `key=` or `tokenizer=`.
_SECRETS_NAMES = r"api_?key|secret|passw|passphrase|pwd|credential|(?:private|access|signing)_?key|auth(?!or)"
_SECRETIVE = re.compile(rf"(?i){_SECRETS_NAMES}|tokens?['\"]?$")
# What was code once.
_SECRETIVE_COMMENT = re.compile(rf"(?i)(?:{_SECRETS_NAMES}|token)\w{{0,40}}['\"\])]{{0,4}}\s{{0,8}}[=:]")
LOOK_BACK = 8  # tokens from a literal to the name that it is bound to: `api_key: str | None = os.getenv("X", "...`

# Tokens of f-strings, which Python 3.11 reads as one string.
_F_START, _F_END = getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1)
_LAYOUT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
_UNSAID = {tokenize.NL, tokenize.COMMENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A string or a comment at `start` to `end` of a source; `instead` of it that is shown, if it is a secret."""

    start: int
    end: int
    instead: str | None = None


def without_secrets(source: str) -> str:
    """Remove paths and what looks like a key from strings and comments, and strings that are bound to a secret's name.

    Code beside them is kept as it is: there `a // b` is no path. What cannot be read as Python is treated as text.
    """
    pieces, end = [], 0
    for literal in _literals(source):
        text = source[literal.start : literal.end]
        pieces += [source[end : literal.start], redact(text) if literal.instead is None else literal.instead]
        end = literal.end
    return printable("".join([*pieces, source[end:]]))


def is_secretive(name: str) -> bool:
    """Whether what is bound to `name` is for nobody to see."""
    return _SECRETIVE.search(name) is not None


def _literals(source: str) -> Iterator[Literal]:
    """Find strings and comments, in order; and the rest, from where it is no Python, as one."""
    starts = [0, *accumulate(len(line) + 1 for line in source.split("\n"))]
    said: list[tokenize.TokenInfo] = []
    opened: list[int] = []
    end = 0
    for token in _tokens(source):
        start, end = (
            min(starts[min(row, len(starts)) - 1] + column, len(source)) for row, column in (token.start, token.end)
        )
        if token.type == _F_START:
            opened.append(start)
        elif token.type == _F_END:
            start = opened.pop()
        if opened:
            continue
        if token.type == tokenize.COMMENT:
            secret = _SECRETIVE_COMMENT.search(token.string)
            yield Literal(start=start, end=end, instead=f"# {REMOVED}" if secret else None)
        elif token.type in (tokenize.STRING, _F_END):
            yield Literal(start=start, end=end, instead=f'"{REMOVED}"' if _is_bound(said) else None)
        if token.type not in _UNSAID:
            said.append(token)
    end = opened[0] if opened else end
    if end < len(source):
        yield Literal(start=end, end=len(source))


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Read tokens up to where the source ends or is no Python: of a lambda there are only the lines that it is on."""
    try:
        yield from tokenize.generate_tokens(io.StringIO(source).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def _is_bound(said: Sequence[tokenize.TokenInfo]) -> bool:
    """Whether the next literal is bound to a secret's name, as its statement goes so far."""
    for steps, token in enumerate(islice(reversed(said), LOOK_BACK)):
        if token.type in _LAYOUT or (token.string == "," and steps):  # what stands before it is another argument
            return False
        if token.type in (tokenize.NAME, tokenize.STRING) and is_secretive(token.string):
            return True
    return False
