"""The search space as the model meets it, and the one function that makes its answers acceptable to Optuna."""

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.study.distributions import check_search_space, exact_int, same
from ...engine.study.optuna_internals import contains
from .notation import choice_text, describe, exact, grid_decimals, labels, show

RATIONALE = "rationale"
KEY_LENGTH = 64
LISTED = 12  # violations, or unknown keys, that are spelled out; the others are counted
NOISE = 1e-8  # of a step: the tolerance of Optuna's own grid check


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER_LENGTH = 600  # Python refuses to convert much longer integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Parameters in order, each with the key that stands for it in the JSON document.

    `labels` holds the texts of each categorical parameter's choices, `fixed` the value of each parameter that has only
    one. Spaces are equal if their parameters are, in order and to the type of each choice.
    """

    distributions: Mapping[str, BaseDistribution] = field(compare=False)
    keys: Mapping[str, str] = field(compare=False)
    labels: Mapping[str, tuple[str, ...]] = field(compare=False, repr=False)
    fixed: Mapping[str, Any] = field(compare=False, repr=False)
    identity: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """Values that Optuna takes as they are, and what was changed; or None, and what the model must correct."""

    params: Mapping[str, Any] | None
    repairs: tuple[str, ...]
    violations: tuple[str, ...]


def make_space(distributions: Mapping[str, BaseDistribution]) -> Space:
    """The space of `distributions`. Raises `UsageError` for what no model could propose, or no storage hold."""
    checked = check_search_space(distributions)
    return Space(
        distributions=checked,
        keys=_keys(checked),
        labels={n: labels(d.choices) for n, d in checked.items() if isinstance(d, CategoricalDistribution)},
        fixed={name: _only_value(d) for name, d in checked.items() if d.single()},
        identity=tuple(f"{name!r}: {d!r}" for name, d in checked.items()),
    )


def narrow(space: Space, names: Iterable[str]) -> Space:
    """The part of a space with these names, under the same keys; the space itself if that is all of it."""
    wanted = set(names)
    kept = [name for name in space.distributions if name in wanted]
    if len(kept) == len(space.distributions):
        return space
    return Space(
        distributions={name: space.distributions[name] for name in kept},
        keys={name: space.keys[name] for name in kept},
        labels={name: space.labels[name] for name in kept if name in space.labels},
        fixed={name: space.fixed[name] for name in kept if name in space.fixed},
        identity=tuple(f"{space.keys[name]}={name!r}: {space.distributions[name]!r}" for name in kept),
    )


def conform(raw: object, space: Space) -> Conformed:
    """Clamp, snap and match the values of `raw` into `space`; never raises for a JSON value.

    Values are found under a parameter's key, else under its name. What cannot be repaired without guessing is a
    violation, in words that the model can act on.
    """
    if not isinstance(raw, Mapping):
        return Conformed(params=None, repairs=(), violations=(f"the reply is {show(raw)}, not a JSON object",))
    sources = _sources(raw, space)
    params: dict[str, Any] = {}
    repairs: list[str] = []
    violations: list[str] = []
    for name, key in space.keys.items():
        reading = _read(name, key, raw[sources[name]] if name in sources else _MISSING, space)
        params[name] = reading.value
        repairs += [f"{key}: {repair}" for repair in reading.repairs]
        if reading.violation is not None:
            violations.append(f"`{key}`: {reading.violation}; give {describe(space.distributions[name])}")
    repairs += _unknown(raw, set(sources.values()))
    return Conformed(
        params=None if violations else params, repairs=tuple(repairs), violations=_limited(violations, "violations")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    value: Any = None
    repairs: tuple[str, ...] = ()
    violation: str | None = None


_MISSING = object()


def _sources(raw: Mapping[str, Any], space: Space) -> dict[str, str]:
    taken = {RATIONALE, *space.keys.values()}
    found = {name: key for name, key in space.keys.items() if key in raw}
    return found | {n: n for n in space.keys if n not in found and n not in taken and n in raw}


def _unknown(raw: Mapping[str, Any], used: set[str]) -> list[str]:
    extra = [show(key) for key in raw if key not in used and key != RATIONALE]
    return [f"ignored unknown keys: {', '.join(_limited(extra, 'keys'))}"] if extra else []


def _limited(items: list[str], what: str) -> tuple[str, ...]:
    rest = len(items) - LISTED
    return (*items[:LISTED], f"and {rest} more {what}") if rest > 0 else tuple(items)


def _read(name: str, key: str, raw: Any, space: Space) -> _Reading:
    distribution = space.distributions[name]
    if name in space.fixed:
        return _read_fixed(raw, space.fixed[name], distribution)
    if raw is _MISSING:
        return _Reading(violation="is missing")
    if isinstance(distribution, CategoricalDistribution):
        return _read_choice(raw, distribution.choices, space.labels[name])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return _read_number(raw, distribution)


def _read_fixed(raw: Any, value: Any, distribution: BaseDistribution) -> _Reading:
    if raw is _MISSING or same(raw, value):
        return _Reading(value=value)
    if isinstance(distribution, CategoricalDistribution):
        agrees = _read_choice(raw, (value,), labels((value,))).violation is None
    else:
        agrees = _number(raw) == value
    repairs = () if agrees else (f"{show(raw)} replaced by its only value",)
    return _Reading(value=value, repairs=repairs)


def _read_number(raw: Any, distribution: FloatDistribution | IntDistribution) -> _Reading:
    number = _number(raw)
    if number is None:
        return _Reading(violation=f"{show(raw)} is not a number")
    if isinstance(number, float) and not math.isfinite(number):
        return _Reading(violation=f"{show(raw)} is not a finite number")
    read = (f"{show(raw)} read as {show(number)}",) if isinstance(raw, str) else ()
    fitted = fit(number, distribution)
    changed = (f"{show(number)} {fitted.change} to {exact(fitted.value)}",) if fitted.change else ()
    return _Reading(value=fitted.value, repairs=read + changed)


def _number(raw: Any) -> int | float | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return raw
    if not isinstance(raw, str) or len(raw) > _NUMBER_LENGTH:
        return None
    text = raw.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if _INTEGER.fullmatch(text) else float(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A number that a distribution holds, and what was done to it: "clamped", "snapped" or nothing."""

    value: int | float
    change: str | None


def fit(number: int | float, distribution: FloatDistribution | IntDistribution) -> Fitted:
    """The nearest number that Optuna takes as it is."""
    if isinstance(distribution, IntDistribution):
        return _fit_int(number, distribution)
    return _fit_float(number, distribution)


def _fit_float(number: int | float, distribution: FloatDistribution) -> Fitted:
    given = _as_float(number)
    bounded = min(max(given, distribution.low), distribution.high)
    value = bounded if distribution.step is None else _grid_point(bounded, distribution)
    if bounded != given and not math.isclose(bounded, given, rel_tol=1e-9):
        return Fitted(value=value, change="clamped")
    moved = distribution.step is not None and abs(value - bounded) > NOISE * distribution.step
    return Fitted(value=value, change="snapped" if moved else None)


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.copysign(sys.float_info.max, 1 if number > 0 else -1)


def _grid_point(value: float, distribution: FloatDistribution) -> float:
    """The nearest point of the grid that passes Optuna's own check, which rounding fails on very fine grids."""
    assert distribution.step is not None
    decimals = grid_decimals(distribution.low, distribution.step)
    nearest = round((value - distribution.low) / distribution.step)
    for distance in range(64):
        for index in {nearest + distance, nearest - distance}:
            point = distribution.low + index * distribution.step
            for candidate in (round(point, decimals), point):
                candidate = min(max(candidate, distribution.low), distribution.high)
                if contains(distribution, candidate):
                    return candidate
    return distribution.low


def _fit_int(number: int | float, distribution: IntDistribution) -> Fitted:
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = round(number)
    bounded = min(max(whole, low), high)
    steps, rest = divmod(bounded - low, step)
    value = exact_int(low + (steps + (2 * rest >= step)) * step, distribution)
    if bounded != whole:
        return Fitted(value=value, change="clamped")
    noise = value == whole and (isinstance(number, int) or abs(number - whole) <= NOISE)
    return Fitted(value=value, change=None if noise else "snapped")


def _read_choice(raw: Any, choices: Sequence[Any], names: Sequence[str]) -> _Reading:
    exactly = next((choice for choice in choices if same(raw, choice)), _MISSING)
    if exactly is not _MISSING:
        return _Reading(value=exactly)
    if isinstance(raw, str) and raw in names:
        return _Reading(value=choices[names.index(raw)])
    matches = _matches_by_text(raw, choices, names) or _matches_by_number(raw, choices)
    if len(matches) == 1:
        return _Reading(value=choices[matches[0]], repairs=(f"{show(raw)} read as {show(names[matches[0]])}",))
    return _Reading(violation=f"{show(raw)} {'fits several choices' if matches else 'is not one of the choices'}")


def _matches_by_text(raw: Any, choices: Sequence[Any], names: Sequence[str]) -> list[int]:
    if not (raw is None or isinstance(raw, str | int | float)):
        return []
    wanted = _forms(raw)
    return [i for i, choice in enumerate(choices) if wanted & (_forms(choice) | {_folded(names[i])})]


def _forms(value: Any) -> set[str]:
    if value is None:
        return {"none", "null"}
    text = _folded(choice_text(value))
    return {text, text.strip("\"'")} if isinstance(value, str) else {text}


def _folded(text: str) -> str:
    return text.strip().casefold()


def _matches_by_number(raw: Any, choices: Sequence[Any]) -> list[int]:
    number = _number(raw)
    if number is None:
        return []
    return [i for i, choice in enumerate(choices) if not isinstance(choice, str) and _number(choice) == number]


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def _keys(names: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """Names that are keys already keep themselves; the others must not take one of those."""
    keys = {name: name for name in names if _key(name) == name and name != RATIONALE}
    taken = {RATIONALE, *keys}
    for name in names:
        if name not in keys:
            keys[name] = _free_key(_key(name), taken)
            taken.add(keys[name])
    return {name: keys[name] for name in names}


def _key(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
        return name
    return re.sub(r"[^A-Za-z0-9_]+", "_", ascii_name).strip("_")[:KEY_LENGTH] or "parameter"


def _free_key(key: str, taken: set[str]) -> str:
    number = 2
    candidate = key
    while candidate in taken:
        suffix = f"_{number}"
        candidate = key[: KEY_LENGTH - len(suffix)] + suffix
        number += 1
    return candidate
