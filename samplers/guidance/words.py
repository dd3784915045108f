"""Guidance as the prompt says it: a summary of the study, a region, a menu."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...engine.records import Params
from ..space.axes import Axis, Choices, Interval, Region
from ..space.labels import labels
from ..space.notation import format_number, format_value
from ..space.space import Space
from ..space.untrusted import quote
from ..view.finished_rows import cells
from ..view.observations import Best, Evidence
from .coverage import gaps
from .effects import Effect
from .findings import Findings
from .strategy import Situation

STRONGEST = 3
STAGNATION = 5
"""Complete trials without an improvement that are worth a line."""

LISTED = 6


def summary(findings: Findings, situation: Situation, *, menu: bool) -> tuple[str, ...]:
    """What the trials show, a line each; nothing that the rows themselves say better, or that a menu heeds."""
    evidence, space = situation.evidence, situation.space
    return (
        *_effects(findings, evidence, space),
        *_progress(evidence),
        *(() if menu else _gaps(situation)),
        *_risks(findings, evidence, space),
    )


def region_text(region: Region, space: Space) -> str:
    """A region in one line: "lr from 0.001 to 0.01; optimizer adam or sgd"."""
    return "; ".join(_part(space, name, region[name]) for name in region)


def candidates_text(candidates: Sequence[Params], names: Sequence[str], space: Space) -> str:
    """A table of candidates, of the parameters in which they differ."""
    rows = [cells(candidate, space.distributions, names) for candidate in candidates]
    return "\n".join(",".join(row) for row in [[space.keys[name] for name in names], *rows])


def kept_text(kept: Params, base: Best | None, space: Space) -> str:
    """The parameters that have no choice, one by one; if they are many, those of a trial by its number."""
    if not kept:
        return ""
    if base is not None and len(kept) > LISTED and kept == {name: base.params.get(name) for name in kept}:
        return f"Keep all other parameters as in trial {base.number}."
    return f"Set {', '.join(f'{space.keys[name]} = {_value(space, name, kept[name])}' for name in kept)}."


def menu_text(menu: Mapping[str, Sequence[Any]], space: Space) -> str:
    """The values that each parameter may take, in a sentence."""
    listed = "; ".join(f"{space.keys[name]} {_values(space, name, values, ' or ')}" for name, values in menu.items())
    return f"Take one of these values: {listed}." if listed else ""


def idle_text(names: Sequence[str], space: Space) -> str:
    """The parameters that an answer must have although they do not count."""
    if not names:
        return ""
    does = "does" if len(names) == 1 else "do"
    return f"{', '.join(space.keys[name] for name in names)} {does} not count then: give any value."


def _effects(findings: Findings, evidence: Evidence, space: Space) -> Iterator[str]:
    found = [effect for effect in findings.effects if effect.name in space.keys][:STRONGEST]
    if found:
        listed = "; ".join(_effect(effect, evidence, space) for effect in found)
        yield f"Strongest effects on the value (rank correlation, {found[0].trials} trials): {listed}."


def _effect(effect: Effect, evidence: Evidence, space: Space) -> str:
    if isinstance(effect.best, int):
        choices = evidence.axes.by_name[effect.name].choices
        return f"{space.keys[effect.name]} {effect.strength:.2f}, best {quote(labels(choices)[effect.best], 40)}"
    return f"{space.keys[effect.name]} {effect.strength:.2f}, better when {effect.best}"


def _progress(evidence: Evidence) -> Iterator[str]:
    best = evidence.best(1)
    if best and evidence.since_improvement >= STAGNATION:
        value = format_number(best[0].value)
        yield f"The best value, {value} of trial {best[0].number}, has stood for {evidence.since_improvement} trials."


def _gaps(situation: Situation) -> Iterator[str]:
    axes, space = situation.evidence.axes, situation.space
    found = [gap for gap in gaps(axes, situation.taken) if gap.name in space.keys][:LISTED]
    if found:
        listed = "; ".join(_bins(axes.by_name[gap.name], space, gap.bins) for gap in found)
        yield f"Not tried yet: {listed}."


def _risks(findings: Findings, evidence: Evidence, space: Space) -> Iterator[str]:
    for risk in [risk for risk in findings.risks if risk.name in space.keys][:STRONGEST]:
        where = _bins(evidence.axes.by_name[risk.name], space, (risk.bin,))
        yield f"Failures: {risk.failed} of {risk.trials} trials with {where}."


def _bins(axis: Axis, space: Space, bins: Sequence[int]) -> str:
    if axis.categorical:
        values = Choices(values=tuple(axis.choices[index] for index in bins[:LISTED]))
        rest = f" and {len(bins) - LISTED} more" if len(bins) > LISTED else ""
        return _part(space, axis.name, values) + rest
    runs: list[list[int]] = []
    for index in bins:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = [_span(axis, axis.span(low, high)) for low, high in runs]
    return f"{space.keys[axis.name]} {' or '.join(parts)}"


def _part(space: Space, name: str, part: Interval | Choices) -> str:
    if isinstance(part, Choices):
        return f"{space.keys[name]} {_values(space, name, part.values, ' or ')}"
    return f"{space.keys[name]} {_span(Axis(name, space.distributions[name]), part)}"


def _span(axis: Axis, part: Interval) -> str:
    low, high = (format_value(end, axis.distribution) for end in (part.low, part.high))
    return low if low == high else f"from {low} to {high}"


def _values(space: Space, name: str, values: Sequence[Any], between: str = ", ") -> str:
    return between.join(_value(space, name, value) for value in values)


def _value(space: Space, name: str, value: Any) -> str:
    text = format_value(value, space.distributions[name])
    return quote(text, 64) if name in space.labels else text
