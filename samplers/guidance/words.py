"""Guidance as the prompt says it: a summary of the study, a region, a menu."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..notation import format_number, format_value, labels
from ..space import Space
from ..text import quoted
from .axes import Axis, Choices, Interval, Region
from .effects import Effect
from .evidence import Evidence
from .findings import Findings

STRONGEST = 3
STAGNATION = 5
"""Complete trials without an improvement that are worth a line."""

LISTED = 6


def summary(findings: Findings, evidence: Evidence, space: Space) -> tuple[str, ...]:
    """What the finished trials show, a line each; nothing that the rows themselves say better."""
    return (
        *_effects(findings, evidence, space),
        *_progress(evidence),
        *_gaps(findings, evidence, space),
        *_risks(findings, evidence, space),
    )


def region_text(region: Region, space: Space) -> str:
    """A region in one line: "lr from 0.001 to 0.01; optimizer adam or sgd"."""
    return "; ".join(_part(space, name, region[name]) for name in region)


def menu_text(menu: Mapping[str, Sequence[Any]], space: Space) -> str:
    """A line for each parameter that has a choice, with the values to choose from."""
    wide = {name: values for name, values in menu.items() if len(values) > 1}
    return "\n".join(f"- {space.keys[name]}: {_values(space, name, values)}" for name, values in wide.items())


def kept_text(menu: Mapping[str, Sequence[Any]], space: Space) -> str:
    """The parameters that a menu leaves no choice."""
    kept = [f"{space.keys[name]} = {_values(space, name, values)}" for name, values in menu.items() if len(values) == 1]
    return f"Keep {', '.join(kept)}." if kept else ""


def _effects(findings: Findings, evidence: Evidence, space: Space) -> Iterator[str]:
    found = [effect for effect in findings.effects if effect.name in space.keys][:STRONGEST]
    if found:
        listed = "; ".join(_effect(effect, evidence, space) for effect in found)
        yield f"Strongest effects on the value (rank correlation, {found[0].trials} trials): {listed}."


def _effect(effect: Effect, evidence: Evidence, space: Space) -> str:
    if isinstance(effect.best, int):
        choices = evidence.axes.by_name[effect.name].choices
        return f"{space.keys[effect.name]} {effect.strength:.2f}, best {quoted(labels(choices)[effect.best], 40)}"
    return f"{space.keys[effect.name]} {effect.strength:.2f}, better when {effect.best}"


def _progress(evidence: Evidence) -> Iterator[str]:
    best = evidence.best(1)
    if best and evidence.since_improvement >= STAGNATION:
        value = format_number(best[0].value)
        yield f"The best value, {value} of trial {best[0].number}, has stood for {evidence.since_improvement} trials."


def _gaps(findings: Findings, evidence: Evidence, space: Space) -> Iterator[str]:
    found = [gap for gap in findings.gaps if gap.name in space.keys][:LISTED]
    if found:
        listed = "; ".join(_bins(evidence.axes.by_name[gap.name], space, gap.bins) for gap in found)
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
    distribution = space.distributions[name]
    texts = [format_value(value, distribution) for value in values]
    return between.join(quoted(text, 64) if name in space.labels else text for text in texts)
