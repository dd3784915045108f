"""Untrusted text on its way into a prompt: short, on one line, quoted, without paths or keys."""

import json
import re

from ...engine.scrub import scrub as scrub_secrets
from .notation import clean

_PATH = re.compile(r"(?:[A-Za-z]:\\|~?/)[^\s'\",;:)\]}]*[\\/][^\s'\",;:)\]}]*")


def scrub(text: str) -> str:
    """`text` without file paths and without anything that looks like a key."""
    return scrub_secrets(_PATH.sub("<path>", text))


def quoted(text: str, limit: int) -> str:
    """`text` as a JSON string on one line: data that cannot end its own quotation."""
    return json.dumps(clean(text, limit), ensure_ascii=False)
