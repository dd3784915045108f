"""How values are written in prompts, schemas and messages. What is written here, `reply_model` reads back."""

import json
import math
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .labels import label_of, labels
from .untrusted import show

DIGITS = 4
FLOAT_DIGITS = 17  # significant digits that tell all floats apart
RESOLUTION = 1e-4  # a tenth of what counts as a duplicate, so that rounding never makes one
SHOWN_CHOICES = 20


def format_value(value: Any, distribution: BaseDistribution) -> str:
    """Write `value` as the prompt shows it and as the model may answer it: a number, or the label of a choice."""
    if type(value) is float and isinstance(distribution, FloatDistribution):  # most values are: no slow checks
        return _format_float(value, distribution.low, distribution.high, distribution.log, distribution.step)
    if type(value) is int and isinstance(distribution, IntDistribution):
        return show(value)
    if isinstance(distribution, CategoricalDistribution):
        return label_of(value, distribution.choices)
    # From here on what was stored before the parameter became what it is now.
    if isinstance(value, bool) or not isinstance(value, Real):
        return show(value)
    if isinstance(value, Integral) and (isinstance(distribution, IntDistribution) or abs(int(value)) > 2**53):
        return show(int(value))
    number = float(value)
    return format_value(number, distribution) if isinstance(distribution, FloatDistribution) else format_exactly(number)


def as_json(value: Any, distribution: BaseDistribution) -> str | int | float:
    """Give what a model would answer for `value`: the label of a choice, or a number as the prompt writes it."""
    if type(value) is int and isinstance(distribution, IntDistribution):
        return value
    text = format_value(value, distribution)
    if isinstance(distribution, CategoricalDistribution):
        return text
    return int(text) if text.removeprefix("-").isdecimal() else float(text)  # as JSON is read, and much faster


def format_number(value: float) -> str:
    """Write an objective value with 4 significant digits."""
    return _format_rounded(float(value), DIGITS)


def format_exactly(value: float) -> str:
    """Write the shortest text that reads back as exactly `value`."""
    if isinstance(value, int):
        return show(value)
    text = repr(float(value)).removesuffix(".0")
    return "0" if text == "-0" else text


def describe(distribution: BaseDistribution) -> str:
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


# Cached, because reading the digits of a decimal takes longer than all else that is done with a grid.
@lru_cache(maxsize=4096)
def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))
