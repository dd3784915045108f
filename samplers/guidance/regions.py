"""From a role to a region, and the menu of values in it."""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..duplicates import TOLERANCE
from .axes import Axis, Choices, Interval, Region
from .coverage import emptiest
from .evidence import Array, Best
from .findings import Findings
from .strategy import Situation

MENU = 5
"""Values per parameter; more make a small model's choice no better."""

REACH = 0.15
"""Half the side of an empty region, as a share of each axis."""

VARIED = 3
"""How many parameters a refining ask varies, about; the others keep the value of the best trial."""

CENTERS = 3
"""Refining asks that are in flight together start from this many best trials, in turns."""

FEW = 64
"""Configurations of a menu that are looked up one by one."""

PARENTS = 4
"""A combining ask offers the values of so many best trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A region, the values offered in it, and the trial that it is about."""

    region: Region
    menu: Mapping[str, Sequence[Any]]
    base: Best | None = None


def draw(situation: Situation) -> random.Random:
    """The same numbers for the same situation."""
    return random.Random(f"{situation.seed}/{situation.ordinal}")


def empty_region(situation: Situation, findings: Findings) -> Plan:
    """The emptiest region, given finished, in-flight and open asks; it keeps out of where trials fail."""
    axes, rng = situation.evidence.axes, draw(situation)
    avoided = [frozenset(risk.bin for risk in findings.risks if risk.name == axis.name) for axis in axes.all]
    place = emptiest(axes, taken(situation), rng, avoided)
    region, menu = {}, {}
    for axis, center in zip(axes.all, place, strict=True):
        if axis.name in situation.space.distributions:
            region[axis.name], menu[axis.name] = _around(axis, center, REACH, rng)
    return Plan(region=region, menu=menu)


def trust_region(situation: Situation, findings: Findings) -> Plan:
    """A region around one of the best trials, in which a few parameters change, the more telling ones sooner."""
    evidence, rng = situation.evidence, draw(situation)
    base = evidence.best(CENTERS)[len(situation.open) % min(CENTERS, evidence.complete)]
    length = evidence.trust.length
    varied = _varied(situation, findings, base, rng)
    region: dict[str, Interval | Choices] = {}
    menu: dict[str, Sequence[Any]] = {}
    for axis, place in zip(evidence.axes.all, base.places, strict=True):
        if axis.name not in situation.space.distributions or math.isnan(place):
            continue
        if axis.name in varied:
            region[axis.name], menu[axis.name] = _around(axis, place, length / 2, rng, own=axis.name != varied[0])
        else:
            region[axis.name], menu[axis.name] = _part(axis, [axis.value(place)]), [axis.value(place)]
    return Plan(region=region, menu=menu, base=base)


def cross(situation: Situation, findings: Findings) -> Plan:
    """The values of the best trials, to be put together anew."""
    evidence, rng = situation.evidence, draw(situation)
    parents = evidence.best(PARENTS)
    region: dict[str, Interval | Choices] = {}
    menu: dict[str, Sequence[Any]] = {}
    for column, axis in enumerate(evidence.axes.all):
        places = [parent.places[column] for parent in parents if not math.isnan(parent.places[column])]
        if axis.name not in situation.space.distributions or not places:
            continue
        values = _listed(axis, [axis.value(place) for place in places], rng)
        menu[axis.name] = values
        region[axis.name] = _part(axis, values)
    varied = tuple(name for name, values in menu.items() if len(values) > 1)
    if varied and not has_news(situation, menu):
        pivot = evidence.axes.by_name[rng.choice(varied)]
        center = pivot.place(parents[0].params[pivot.name]) if pivot.name in parents[0].params else 0.5
        region[pivot.name], menu[pivot.name] = _around(pivot, center, REACH, rng, own=False)
    return Plan(region=region, menu=menu, base=parents[0])


def taken(situation: Situation) -> Array:
    """Where finished, in-flight and open configurations stand; one row each."""
    axes = situation.evidence.axes
    rows = [axes.places(params) for params in situation.in_flight] + [axes.center(part) for part in situation.open]
    return np.concatenate([situation.evidence.newest.places, np.array(rows, dtype=float).reshape(-1, len(axes))])


def has_news(situation: Situation, menu: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a menu offers a configuration that is not known; a long one is taken to."""
    offered = math.prod(len(values) for values in menu.values())
    if offered > FEW:
        return True
    columns = [(i, axis) for i, axis in enumerate(situation.evidence.axes.all) if axis.name in menu]
    points = np.array(list(itertools.product(*([axis.place(v) for v in menu[axis.name]] for _, axis in columns))))
    known = taken(situation)[:, [i for i, _ in columns]]
    same = np.abs(points[:, None, :] - known[None, :, :]) <= TOLERANCE
    return not bool(np.all(np.any(np.all(same, axis=2), axis=1)))


def _varied(situation: Situation, findings: Findings, base: Best, rng: random.Random) -> tuple[str, ...]:
    """Which parameters to change: drawn without replacement, with chances that grow with their effect."""
    names = [
        axis.name
        for axis, place in zip(situation.evidence.axes.all, base.places, strict=True)
        if axis.name in situation.space.distributions and not math.isnan(place)
    ]
    strength = {effect.name: effect.strength for effect in findings.effects}
    keys = {name: rng.random() ** (1 / (0.3 + strength.get(name, 0.0))) for name in names}
    ordered = sorted(names, key=lambda name: -keys[name])
    return tuple(ordered[: max(VARIED, len(names) // 3)])


def _around(
    axis: Axis, center: float, reach: float, rng: random.Random, *, own: bool = True
) -> tuple[Interval | Choices, Sequence[Any]]:
    """A part of an axis around a place, and values in it: the place's own, if wanted, and others on both sides."""
    if axis.categorical:
        others = [choice for index, choice in enumerate(axis.choices) if index != round(center)]
        kept = [axis.choices[round(center)]] if own else []
        wanted = len(others) if reach >= REACH else 2
        values = kept + rng.sample(others, min(len(others), wanted, MENU - len(kept)))
        return _part(axis, values), _listed(axis, values, rng)
    reach = max(reach, 1.5 * axis.step)
    low, high = max(0.0, center - reach), min(1.0, center + reach)
    below, above = _split(center - low, high - center, MENU - 1)
    places = [low + (center - low) * (i + rng.random()) / below for i in range(below)]
    places += [center + (high - center) * (i + rng.random()) / above for i in range(above)]
    here = axis.value(center)
    values = [value for value in (axis.value(place) for place in places) if value != here]
    if own or not values:
        values.append(here)
    return axis.interval(low, high), _listed(axis, values, rng)


def _split(below: float, above: float, count: int) -> Sequence[int]:
    """How many of `count` values go to each side, in proportion to the room there."""
    share = round(count * below / (below + above)) if below + above else count // 2
    return share, count - share


def _part(axis: Axis, values: Sequence[Any]) -> Interval | Choices:
    if axis.categorical:
        return Choices(values=tuple(values))
    return Interval(low=min(values), high=max(values))


def _listed(axis: Axis, values: Sequence[Any], rng: random.Random) -> list[Any]:
    """Each value once: numbers from low to high, choices in an order that is drawn, for models favour what is first."""
    placed = {axis.place(value): value for value in values}
    places = rng.sample(sorted(placed), len(placed)) if axis.categorical else sorted(placed)
    return [placed[place] for place in places]
