"""How values are written in prompts, schemas and messages. What is written here, `space.conform` reads back."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.study.distributions import plain, same

DIGITS = 4
RESOLUTION = 1e-4  # a tenth of what counts as a duplicate, so that rounding never makes one
LABEL_LENGTH = 64
SHOWN_LENGTH = 48
SHOWN_CHOICES = 20

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def format_value(value: Any, distribution: BaseDistribution) -> str:
    """`value` as it stands in the prompt and as the model may answer it: a number, or the label of a choice."""
    if isinstance(distribution, CategoricalDistribution):
        return _format_choice(value, distribution.choices)
    if type(value) is float and isinstance(distribution, FloatDistribution):  # most values are: no slow checks
        return _format_float(value, distribution.low, distribution.high, distribution.log, distribution.step)
    if type(value) is int and isinstance(distribution, IntDistribution):
        return show(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return show(value)
    if isinstance(value, Integral) and (isinstance(distribution, IntDistribution) or abs(int(value)) > 2**53):
        return show(int(value))
    number = float(value)
    return format_value(number, distribution) if isinstance(distribution, FloatDistribution) else exact(number)


def format_number(value: float) -> str:
    """An objective value with 4 significant digits."""
    return _rounded(float(value), DIGITS)


def exact(value: float) -> str:
    """The shortest text that reads back as exactly `value`."""
    if isinstance(value, int):
        return show(value)
    text = repr(float(value)).removesuffix(".0")
    return "0" if text == "-0" else text


def show(value: Any) -> str:
    """A value that came from outside, fit to be quoted in a message: one short printable line."""
    if isinstance(value, str):
        return repr(clean(value, SHOWN_LENGTH))
    if isinstance(value, int) and not isinstance(value, bool):
        bits = value.bit_length()
        return f"an integer of {bits} bits" if bits > 128 else str(value)
    if isinstance(value, float):
        return repr(float(value))
    names = {type(None): "null", list: "a list", dict: "an object"}
    if value is True or value is False:
        return "true" if value else "false"
    return names.get(type(value), f"a {_type(value)}")


def clean(text: str, length: int) -> str:
    """`text` on one line, without control characters and lone surrogates, at most `length` characters."""
    head = text[: 8 * length]
    line = " ".join("".join(c if c.isprintable() else " " for c in head).split())
    if len(line) <= length and len(head) == len(text):
        return line
    return line[: length - 3].rstrip() + "..."


def describe(distribution: BaseDistribution) -> str:
    """What may be answered, in words: "a number from 1e-05 to 0.1, log scale"."""
    if isinstance(distribution, CategoricalDistribution):
        names = labels(distribution.choices)
        listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:SHOWN_CHOICES])
        rest = len(names) - SHOWN_CHOICES
        return f"one of {listed}" + (f" and {rest} more" if rest > 0 else "")
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "an integer" if isinstance(distribution, IntDistribution) else "a number"
    words = f"{kind} from {exact(distribution.low)} to {exact(distribution.high)}"
    if distribution.log:
        return f"{words}, log scale"
    if distribution.step is None or (distribution.step == 1 and kind == "an integer"):
        return words
    return f"{words} in steps of {exact(distribution.step)}"


def grid_decimals(low: float, step: float) -> int:
    """How many decimals write every point of the grid in full."""
    return max(_decimals(low), _decimals(step))


def labels(choices: Sequence[Any]) -> tuple[str, ...]:
    """One safe, unambiguous text per choice.

    Strings stand for themselves, everything else is JSON text. Where two would read alike ("1" and 1) the strings
    are quoted and the others name their type, so no label is the value of another choice.
    """
    choices = tuple(map(plain, choices))
    try:
        return _cached_labels(choices, tuple(map(type, choices)))
    except TypeError:  # a choice without a hash
        return _labels(choices)


@lru_cache(maxsize=1024)
def _cached_labels(choices: tuple[Any, ...], types: tuple[type, ...]) -> tuple[str, ...]:
    """`types` is in the cache's key because True equals 1."""
    return _labels(choices)


def _labels(choices: Sequence[Any]) -> tuple[str, ...]:
    digits = _telling_digits(choices)
    plain = [_safe(choice_text(_shortened(choice, digits))) for choice in choices]
    counts = Counter(plain)
    strings = {choice for choice in choices if isinstance(choice, str)}
    taken: dict[str, None] = {}
    for choice, text in zip(choices, plain, strict=True):
        own = _longer_labels(choice, text) if counts[text] > 1 else iter((text,))
        used = {*taken, *(counts.keys() - {text}), *(strings - {choice if isinstance(choice, str) else None})}
        taken[next(label for label in own if label not in used)] = None
    return tuple(taken)


def _telling_digits(choices: Sequence[Any]) -> int:
    """Significant digits that tell all floats among the choices apart, at least `DIGITS`."""
    floats = {choice for choice in choices if type(choice) is float and math.isfinite(choice)}
    return next((n for n in range(DIGITS, 17) if len({_shortened(f, n) for f in floats}) == len(floats)), 17)


def _shortened(choice: Any, digits: int) -> Any:
    if type(choice) is not float or not math.isfinite(choice):
        return choice
    rounded = float(f"{choice:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else choice  # rounding up the largest floats overflows


def _longer_labels(choice: Any, text: str) -> Iterator[str]:
    yield _safe(json.dumps(choice, ensure_ascii=False) if isinstance(choice, str) else f"{text} ({_type(choice)})")
    yield from (f"{text} #{number}" for number in itertools.count(2))


def _type(value: Any) -> str:
    return type(value).__name__


def choice_text(choice: Any) -> str:
    if isinstance(choice, str):
        return choice
    if choice is None or isinstance(choice, bool):
        return json.dumps(choice)
    if isinstance(choice, Integral):
        return show(int(choice))
    if isinstance(choice, Real):
        return json.dumps(float(choice))
    return _ADDRESS.sub("", repr(choice))


def _safe(text: str) -> str:
    if text.isprintable() and 0 < len(text) <= LABEL_LENGTH:
        return text
    return clean(text, LABEL_LENGTH) or '""'


def _format_choice(value: Any, choices: Sequence[Any]) -> str:
    index = next((i for i, choice in enumerate(choices) if same(value, choice)), None)
    if index is None:
        index = next((i for i, choice in enumerate(choices) if _equal(value, choice)), None)
    return labels((value,))[0] if index is None else labels(choices)[index]


def _equal(value: Any, choice: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return isinstance(choice, float) and math.isnan(choice)
    return bool(value == choice)


@lru_cache(maxsize=4096)
def _format_float(value: float, low: float, high: float, log: bool, step: float | None) -> str:
    """Kept, because a proposal's values are written several times: in its menu, its schema and its rows."""
    if not math.isfinite(value):
        return str(value)
    if step is not None:
        return exact(round(value, grid_decimals(low, step)))
    text = _rounded(value, _digits(value, low, high, log))
    escapes = low <= value <= high and not low <= float(text) <= high
    return exact(value) if escapes or value in (low, high) else text


def _digits(value: float, low: float, high: float, log: bool) -> int:
    """Significant digits that tell values apart which are `RESOLUTION` of the (log) range apart."""
    if value == 0 or low == high:
        return DIGITS
    span = abs(value) * (math.log(high) - math.log(low)) if log else high - low
    if span * RESOLUTION == 0:
        return 17
    needed = 1 + math.floor(math.log10(abs(value))) - math.floor(math.log10(span * RESOLUTION))
    return max(DIGITS, min(17, needed))


def _rounded(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return str(value)
    number = float(f"{value:.{digits - 1}e}")
    if not math.isfinite(number):  # rounding up the largest floats overflows
        return exact(value)
    return f"{number:.{digits}g}" if abs(number) >= 1e7 else exact(number)


@lru_cache(maxsize=4096)
def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))
