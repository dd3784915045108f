"""The text that stands for a choice in prompts, schemas and replies: safe, short, and unlike that of any other."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from ...engine.study.distributions import plain, same
from .untrusted import clean, show

LABEL_LENGTH = 64
LABEL_DIGITS = 4  # as many as other numbers of a prompt have

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in the text of an object: another one in every process


def labels(choices: Sequence[Any]) -> tuple[str, ...]:
    """Give each choice a label.

    Strings stand for themselves, everything else is JSON text. Where two would read alike ("1" and 1) the strings
    are quoted and the others name their type, so no label is the value of another choice.
    """
    choices = tuple(map(plain, choices))
    try:
        return _cached_labels(choices, tuple(map(type, choices)))
    except TypeError:  # a choice without a hash
        return _labels(choices)


def label_of(value: Any, choices: Sequence[Any]) -> str:
    """Give the label of the choice that `value` is; of one that is no choice any more, a label of its own."""
    index = next((i for i, choice in enumerate(choices) if same(value, choice)), None)
    if index is None:
        index = next((i for i, choice in enumerate(choices) if value == choice), None)
    return labels((value,))[0] if index is None else labels(choices)[index]


def choice_text(choice: Any) -> str:
    """Write a choice as text, without regard to the others."""
    if isinstance(choice, str):
        return choice
    if choice is None or isinstance(choice, bool):
        return json.dumps(choice)
    if isinstance(choice, Integral):
        return show(int(choice))
    if isinstance(choice, Real):
        return json.dumps(float(choice))
    return _ADDRESS.sub("", repr(choice))


@lru_cache(maxsize=1024)
def _cached_labels(choices: tuple[Any, ...], types: tuple[type, ...]) -> tuple[str, ...]:
    """`types` is part of the cache's key because True equals 1."""
    return _labels(choices)


def _labels(choices: Sequence[Any]) -> tuple[str, ...]:
    digits = _distinguishing_digits(choices)
    texts = [_safe(choice_text(_rounded(choice, digits))) for choice in choices]
    counts = Counter(texts)
    strings = {choice for choice in choices if isinstance(choice, str)}
    found: dict[str, None] = {}  # in order, and quick to look up
    for choice, text in zip(choices, texts, strict=True):
        label = text
        if counts[text] > 1:
            others = {*found, *(counts.keys() - {text}), *(strings - {choice if isinstance(choice, str) else None})}
            label = next(label for label in _longer_labels(choice, text) if label not in others)
        found[label] = None
    return tuple(found)


def _longer_labels(choice: Any, text: str) -> Iterator[str]:
    yield _safe(json.dumps(choice, ensure_ascii=False) if isinstance(choice, str) else f"{text} ({_type_name(choice)})")
    yield from (f"{text} #{number}" for number in itertools.count(2))


def _type_name(value: Any) -> str:
    return type(value).__name__


def _distinguishing_digits(choices: Sequence[Any]) -> int:
    """Find how many significant digits tell all floats among the choices apart, at least `LABEL_DIGITS`."""
    floats = {choice for choice in choices if type(choice) is float and math.isfinite(choice)}
    return next((n for n in range(LABEL_DIGITS, 17) if len({_rounded(f, n) for f in floats}) == len(floats)), 17)


def _rounded(choice: Any, digits: int) -> Any:
    if type(choice) is not float or not math.isfinite(choice):
        return choice
    rounded = float(f"{choice:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else choice  # rounding up the largest floats overflows


def _safe(text: str) -> str:
    if text.isprintable() and 0 < len(text) <= LABEL_LENGTH:
        return text
    return clean(text, LABEL_LENGTH) or '""'
