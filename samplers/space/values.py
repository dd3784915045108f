"""How a model's value becomes one that Optuna takes: numbers are clamped and snapped, choices are matched."""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.study.distributions import EXACT_INT, contains, exact_int
from .notation import LONGEST_NUMBER, choice_index, choice_text, format_exactly, grid_decimals, labels, show
from .space import Space

NOISE = 1e-8  # of a step: the tolerance of Optuna's own grid check
GRID_NEIGHBOURS = 64  # points looked at on either side, where rounding makes Optuna refuse the nearest one

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class MisfitError(ValueError):
    """Raised for a value that cannot be repaired without guessing; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of a document: what had to be repaired, and the space that it is read for.

    That is not the space of the Pydantic model: equal spaces share one, and their choices may be different objects.
    """

    space: Space
    repairs: list[str] = field(default_factory=list)


def read(name: str, raw: Any, info: Any) -> Any:
    """Find the value of parameter `name` that the model means by `raw`, one that Optuna takes. Raises `MisfitError`.

    Numbers are clamped and snapped; choices are found by value and type, by label, else by text. A parameter that has
    only one value takes it, whatever the model wrote. `info.context` is the `Reading`, which is told of repairs.
    """
    reading: Reading = info.context
    repairs: list[str] = []
    value = _fit(raw, name, reading.space, repairs)
    reading.repairs.extend([f"{reading.space.keys[name]}: {repair}" for repair in repairs])
    return value


def _fit(raw: Any, name: str, space: Space, repairs: list[str]) -> Any:
    distribution = space.distributions[name]
    if name in space.fixed:
        return _fit_fixed(raw, space.fixed[name], repairs)
    if isinstance(distribution, CategoricalDistribution):
        return _fit_choice(raw, distribution.choices, space.labels[name], repairs)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return _fit_number(raw, distribution, repairs)


def _fit_fixed(raw: Any, value: Any, repairs: list[str]) -> Any:
    try:
        _fit_choice(raw, (value,), labels((value,)), [])
    except MisfitError:
        repairs.append(f"{show(raw)} replaced by its only value")
    return value


def _fit_number(raw: Any, distribution: FloatDistribution | IntDistribution, repairs: list[str]) -> int | float:
    number = _number(raw)
    if number is None:
        raise MisfitError(f"{show(raw)} is not a number")
    if isinstance(number, float) and not math.isfinite(number):
        raise MisfitError(f"{show(raw)} is not a finite number")
    value = nearest(number, distribution)
    if isinstance(raw, str):
        repairs.append(f"{show(raw)} read as {show(number)}")
    if value != number and (change := _change(number, value, distribution)):
        repairs.append(f"{show(number)} {change} to {format_exactly(value)}")
    return value


def _fit_choice(raw: Any, choices: Sequence[Any], names: Sequence[str], repairs: list[str]) -> Any:
    """Find the choice that is meant; a text or a number that fits exactly one is a repair."""
    index = choice_index(raw, choices)
    if index is None and isinstance(raw, str) and raw in names:
        index = names.index(raw)
    if index is not None:
        return choices[index]
    matches = _matches_by_text(raw, choices, names) or _matches_by_number(raw, choices)
    if len(matches) != 1:
        raise MisfitError(f"{show(raw)} {'fits several choices' if matches else 'is not one of the choices'}")
    repairs.append(f"{show(raw)} read as {show(names[matches[0]])}")
    return choices[matches[0]]


def nearest(number: int | float, distribution: FloatDistribution | IntDistribution) -> int | float:
    """Find the nearest number that Optuna takes as it is."""
    if isinstance(distribution, FloatDistribution):
        bounded = min(max(_as_float(number), distribution.low), distribution.high)
        return bounded if distribution.step is None else _grid_point(bounded, distribution)
    low, step = distribution.low, distribution.step
    steps, rest = divmod(min(max(round(number), low), distribution.high) - low, step)
    value = low + (steps + (2 * rest >= step)) * step
    return value if abs(value) < EXACT_INT else exact_int(value, distribution)


def _number(raw: Any) -> int | float | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return raw
    if not isinstance(raw, str) or len(raw) > LONGEST_NUMBER:
        return None
    text = raw.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _change(number: int | float, value: int | float, distribution: FloatDistribution | IntDistribution) -> str | None:
    """Say what was done to `number` to get `value`: "clamped", "snapped", or nothing but noise (None)."""
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution):
        if not low <= round(number) <= high:
            return "clamped"
        rounded = abs(value) > EXACT_INT and math.isclose(number, value)  # to the nearest float, as every storage does
        return "snapped" if abs(number - value) > NOISE and not rounded else None
    exact = _as_float(number)
    bounded = min(max(exact, low), high)
    if bounded != exact and not math.isclose(bounded, exact, rel_tol=1e-9):  # a bound with its last digits rounded
        return "clamped"
    return "snapped" if step is not None and abs(value - bounded) > NOISE * step else None


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.copysign(sys.float_info.max, 1 if number > 0 else -1)


def _grid_point(value: float, distribution: FloatDistribution) -> float:
    """Find the nearest point of the grid that passes Optuna's own check, which rounding fails on very fine grids."""
    assert distribution.step is not None
    decimals = grid_decimals(distribution.low, distribution.step)
    index = round((value - distribution.low) / distribution.step)
    for distance in range(GRID_NEIGHBOURS):
        for neighbour in {index + distance, index - distance}:
            point = distribution.low + neighbour * distribution.step
            for candidate in (round(point, decimals), point):
                candidate = min(max(candidate, distribution.low), distribution.high)
                if contains(distribution, candidate):
                    return candidate
    return distribution.low


def _matches_by_text(raw: Any, choices: Sequence[Any], names: Sequence[str]) -> list[int]:
    if not (raw is None or isinstance(raw, str | int | float)):
        return []
    wanted = _texts(raw)
    return [i for i, choice in enumerate(choices) if wanted & (_texts(choice) | {names[i].strip().casefold()})]


def _texts(value: Any) -> set[str]:
    """List the texts that a value is known by, in lower case."""
    if value is None:
        return {"none", "null"}
    text = choice_text(value).strip().casefold()
    return {text, text.strip("\"'")} if isinstance(value, str) else {text}


def _matches_by_number(raw: Any, choices: Sequence[Any]) -> list[int]:
    number = _number(raw)
    if number is None:
        return []
    return [i for i, choice in enumerate(choices) if not isinstance(choice, str) and _number(choice) == number]
