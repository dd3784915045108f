"""How values, choices and foreign text are written in prompts, schemas and messages; `reply_model` reads them back."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.foreign_text import clean
from ...engine.records import Params
from ...engine.secrets import scrub
from ...engine.study.distributions import plain, same

MISSING = "-"
DIGITS = 4
FLOAT_DIGITS = 17  # significant digits that tell all floats apart
RESOLUTION = 1e-4  # a tenth of what counts as a duplicate, so that rounding never makes one
SHOWN_CHOICES = 20
PLAIN_TYPES = {str, int, float, bool, type(None)}  # of nearly all choices: values that are stored as they are
LABEL_LENGTH = 64
SHOWN_LENGTH = 48  # a violation that quotes two values stays under 250 characters
LONGEST_NUMBER = 600  # characters; Python may refuse to convert integers of more than 640
SHOWN_BITS = 128  # an integer of so many bits has 39 digits, about as many as a string may show
FLOAT_BITS = 1024  # of the largest integers that a float, and so a storage, can hold

_PATH = re.compile(r"(?:[A-Za-z]:\\|~?/)[^\s'\",;:)\]}]*[\\/][^\s'\",;:)\]}]*")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in the text of an object: another one in every process


# -- text from outside: short, printable, on one line, without secrets


def quote(text: str, length: int) -> str:
    """Clean `text`, and write it as a JSON string: data that cannot end its own quotation."""
    return json.dumps(clean(text, length), ensure_ascii=False)


def redact(text: str) -> str:
    """Remove file paths, and anything that looks like a key, from `text`."""
    return _PATH.sub("<path>", scrub(text))  # in this order: a URL without its `//` hides its password from `scrub`


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


# -- values of a parameter


def cells(params: Params, distributions: Mapping[str, BaseDistribution], names: Iterable[str]) -> tuple[str, ...]:
    """Write the values of `names` as cells of a table; `-` for a parameter that is not among `params`."""
    return tuple(cell(params[name], distributions[name]) if name in params else MISSING for name in names)


def cell(value: Any, distribution: BaseDistribution) -> str:
    """Write one value of a table, quoted where it would break the row."""
    text = format_value(value, distribution)
    return json.dumps(text, ensure_ascii=False) if "," in text or '"' in text or text == MISSING else text


def format_value(value: Any, distribution: BaseDistribution) -> str:
    """Write `value` as the prompt shows it and as the model may answer it: a number, or the label of a choice."""
    if type(value) is float and isinstance(distribution, FloatDistribution):  # most values are: no slow checks
        return _format_float(value, distribution.low, distribution.high, distribution.log, distribution.step)
    if type(value) is int and isinstance(distribution, IntDistribution):
        return _whole(value)
    if isinstance(distribution, CategoricalDistribution):
        return _label_of(value, distribution.choices)
    # From here on what was stored before the parameter became what it is now.
    if isinstance(value, bool) or not isinstance(value, Real):
        return show(value)
    if isinstance(value, Integral) and (isinstance(distribution, IntDistribution) or abs(int(value)) > 2**53):
        return _whole(int(value))
    number = float(value)
    return format_value(number, distribution) if isinstance(distribution, FloatDistribution) else format_exactly(number)


def format_number(value: float, digits: int = DIGITS) -> str:
    """Write an objective value with so many significant digits."""
    return _format_rounded(float(value), digits)


def digits_apart(values: Sequence[float]) -> int:
    """Count the significant digits that tell different values apart."""
    distinct = len(set(values))
    enough = (n for n in range(DIGITS, FLOAT_DIGITS) if len({format_number(value, n) for value in values}) == distinct)
    return next(enough, FLOAT_DIGITS)


def format_exactly(value: float) -> str:
    """Write the shortest text that reads back as exactly `value`."""
    if isinstance(value, int):
        return _whole(value)
    text = repr(float(value)).removesuffix(".0")
    return "0" if text == "-0" else text


def _whole(value: int) -> str:
    """Write an integer with all its digits, at most 309 of them: a value that is not told cannot be tuned."""
    return str(value) if value.bit_length() <= FLOAT_BITS else show(value)


def in_words(distribution: BaseDistribution) -> str:
    """Say in words what may be answered: "a number from 1e-05 to 0.1, log scale"."""
    if isinstance(distribution, CategoricalDistribution):
        names = labels(distribution.choices)
        listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:SHOWN_CHOICES])
        rest = len(names) - SHOWN_CHOICES
        return f"one of {listed}" + (f" and {rest} more" if rest > 0 else "")
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "an integer" if isinstance(distribution, IntDistribution) else "a number"
    words = f"{kind} from {format_exactly(distribution.low)} to {format_exactly(distribution.high)}"
    if distribution.log:
        return f"{words}, log scale"
    if distribution.step is None or (distribution.step == 1 and kind == "an integer"):
        return words
    return f"{words} in steps of {format_exactly(distribution.step)}"


def grid_decimals(low: float, step: float) -> int:
    """Count the decimals that write every point of the grid in full."""
    return max(_decimals(low), _decimals(step))


# Cached, because reading the digits of a decimal takes longer than all else that is done with a grid.
@lru_cache(maxsize=4096)
def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


# Cached, because a proposal's values are written several times: in its menu, its schema and its rows.
@lru_cache(maxsize=4096)
def _format_float(value: float, low: float, high: float, log: bool, step: float | None) -> str:
    if not math.isfinite(value):
        return str(value)
    if step is not None:
        return format_exactly(round(value, grid_decimals(low, step)))
    text = _format_rounded(value, _digits(value, low, high, log))
    escapes = low <= value <= high and not low <= float(text) <= high
    return format_exactly(value) if escapes or value in (low, high) else text


def _digits(value: float, low: float, high: float, log: bool) -> int:
    """Count the significant digits that tell values apart which are `RESOLUTION` of the (log) range apart."""
    if value == 0 or low == high:
        return DIGITS
    span = abs(value) * (math.log(high) - math.log(low)) if log else high - low  # of a log range: its slope here
    if span * RESOLUTION == 0:
        return FLOAT_DIGITS
    needed = 1 + math.floor(math.log10(abs(value))) - math.floor(math.log10(span * RESOLUTION))
    return max(DIGITS, min(FLOAT_DIGITS, needed))


def _format_rounded(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return str(value)
    number = float(f"{value:.{digits - 1}e}")
    if not math.isfinite(number):  # rounding up the largest floats overflows
        return format_exactly(value)
    return f"{number:.{digits}g}" if abs(number) >= 1e7 else format_exactly(number)


# -- labels of choices: safe, short, and unlike that of any other


def labels(choices: Sequence[Any]) -> tuple[str, ...]:
    """Give each choice a label.

    Strings stand for themselves, everything else is JSON text. Where two would read alike ("1" and 1) the strings
    are quoted and the others name their type, so no label is the value of another choice.
    """
    try:
        return _labels(tuple(choices), tuple(map(type, choices)))
    except TypeError:  # a choice without a hash
        return _labels.__wrapped__(tuple(choices), ())


def choice_index(value: Any, choices: Sequence[Any]) -> int | None:
    """Find which choice `value` is, told apart as storages do; None if it is none of them."""
    try:
        return _indices(tuple(choices), tuple(map(type, choices))).get(_identity(value))
    except TypeError:  # a choice or a value without a hash
        return next((i for i, choice in enumerate(choices) if same(value, choice)), None)


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


def _label_of(value: Any, choices: Sequence[Any]) -> str:
    """Give the label of the choice that `value` is; of one that is no choice any more, a label of its own."""
    index = choice_index(value, choices)
    if index is None:
        index = next((i for i, choice in enumerate(choices) if value == choice), None)
    return labels((value,))[0] if index is None else labels(choices)[index]


# Types are part of the caches' keys because True equals 1.
@lru_cache(maxsize=1024)
def _indices(choices: tuple[Any, ...], types: tuple[type, ...]) -> dict[Any, int]:
    return {_identity(choice): index for index, choice in reversed([*enumerate(choices)])}  # the first of equal ones


def _identity(value: Any) -> tuple[type, Any]:
    """Give what is equal for values that are `same`."""
    if type(value) not in PLAIN_TYPES:
        value = plain(value)
    return type(value), None if isinstance(value, float) and math.isnan(value) else value


@lru_cache(maxsize=1024)
def _labels(choices: tuple[Any, ...], types: tuple[type, ...]) -> tuple[str, ...]:
    choices = tuple(map(plain, choices))
    # As many digits as other numbers of a prompt have, or as tell all floats apart.
    floats = {choice for choice in choices if type(choice) is float and math.isfinite(choice)}
    numbers = range(DIGITS, FLOAT_DIGITS)
    digits = next((n for n in numbers if len({_rounded(f, n) for f in floats}) == len(floats)), FLOAT_DIGITS)
    texts = [_safe(choice_text(_rounded(choice, digits) if type(choice) is float else choice)) for choice in choices]
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
    kind = type(choice).__name__
    yield _safe(json.dumps(choice, ensure_ascii=False) if isinstance(choice, str) else f"{text} ({kind})")
    yield from (f"{text} #{number}" for number in itertools.count(2))


def _rounded(number: float, digits: int) -> float:
    rounded = float(f"{number:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else number  # rounding up the largest floats overflows


def _safe(text: str) -> str:
    if text.isprintable() and 0 < len(text) <= LABEL_LENGTH:
        return text
    return clean(text, LABEL_LENGTH) or '""'
