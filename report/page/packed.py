"""Data that scripts of the page read: compressed, so that the page is light, and nothing in them can end an element."""

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any


def packed(name: str, text: str) -> str:
    """An element that holds a text for the script's `unpack(name)`."""
    return f'<script type="application/gzip" id="{name}">{_squeezed(text)}</script>'


def packed_json(name: str, thing: Any) -> str:
    """The same of JSON; what it cannot write is null."""
    return packed(name, json.dumps(_finite(thing), allow_nan=False, separators=(",", ":")))


def _squeezed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _finite(thing: Any) -> Any:
    if isinstance(thing, Mapping):
        return {name: _finite(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing
