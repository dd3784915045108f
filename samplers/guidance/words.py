"""Guidance as the prompt says it: a role, a region or a menu, and a summary of the study."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from ..provenance import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from ..space.axes import Axis, Choices, Interval, Region
from ..space.notation import cells, format_number, format_value, labels, quote
from ..space.space import Space
from .findings import Effect, Risk, effects, gaps, risks
from .offer import Offer, offer_for
from .strategy import Guidance, Situation

ROLE_TEXTS: Final[Mapping[str, str]] = {
    FIRST_GUESS: "Role: first guess. Little is known yet: give what you know to work best on such a task.",
    EXPLORE: "Role: explore. Look where little is known, or where a good value may be.",
    REFINE: "Role: refine. Improve on trial {number}: change what promises most.",
    COMBINE: "Role: combine. Put together what the best trials do well into a configuration that none of them is.",
}

# Effects, and risks, that the summary names: weaker ones would distract from the strongest.
MAX_FINDINGS: Final = 3

# Complete trials without an improvement that are worth a line: with fewer, every other study would have it.
REPORT_STAGNATION_AFTER: Final = 5

# Parameters or choices that a sentence lists; more would not be read, so they are counted, or a trial's number stands
# for them.
MAX_LISTED: Final = 6

# Characters of a choice: enough to tell it from others, while a choice may be a whole text.
MAX_LABEL: Final = 64
MAX_LABEL_IN_SUMMARY: Final = 40


def guidance_in(form: Literal["words", "menu"], situation: Situation, role: str, strategy: str) -> Guidance:
    """The guidance of a role in this form; it explores where the role has nothing new to offer.

    A first guess is free, and so is an ask where nothing new is left at all.
    """
    risky = risks(situation.evidence)
    offer = None if role == FIRST_GUESS else offer_for(role, situation, risky)
    if offer is None and role in (REFINE, COMBINE):
        return guidance_in(form, situation, EXPLORE, strategy)
    menus = form == "menu" and offer is not None  # a menu leaves out what was tried
    summary = tuple(_summary(situation, risky, with_gaps=not menus))
    guidance = Guidance(strategy=strategy, role=role, summary=summary)
    if offer is None:
        return replace(guidance, words=ROLE_TEXTS[role] if role == FIRST_GUESS else "")
    space, axes = situation.space, situation.evidence.axes
    if menus:
        words = _words(role, offer, space, _candidates_text(offer, space))
        offered = offer.places.tolist()
        return replace(guidance, form=form, region=offer.region, menu=offer.menu, offered=offered, words=words)
    region = {name: part for name, part in offer.region.items() if part != axes.by_name[name].full_part}
    words = _words(role, offer, space, _region_text(region, offer, space))
    return replace(guidance, form=form, region=region, words=words)


def menu_text(menu: Mapping[str, Sequence[Any]], space: Space) -> str:
    """The values that each parameter may take, in a sentence."""
    listed = "; ".join(_choice_text(space, name, values) for name, values in menu.items())
    return f"Take one of these values: {listed}." if listed else ""


def _words(role: str, offer: Offer, space: Space, where: str) -> str:
    """The paragraph at the end of the prompt."""
    task = ROLE_TEXTS[role].format(number=offer.base.number if offer.base else None)
    return " ".join(part for part in (task, _constants_text(offer, space), _inactive_text(offer, space), where) if part)


def _constants_text(offer: Offer, space: Space) -> str:
    """The parameters that have no choice, one by one; if they are many, those of a trial by its number."""
    constants, base = offer.constants, offer.base
    if not constants:
        return ""
    if base and len(constants) > MAX_LISTED and all(base.params.get(name) == constants[name] for name in constants):
        return f"Keep all other parameters as in trial {base.number}."
    return f"Set {', '.join(f'{space.keys[name]} = {_value(space, name, constants[name])}' for name in constants)}."


def _inactive_text(offer: Offer, space: Space) -> str:
    """The parameters that an answer must have although they do not count."""
    if not offer.inactive:
        return ""
    does = "does" if len(offer.inactive) == 1 else "do"
    return f"{', '.join(space.keys[name] for name in offer.inactive)} {does} not count then: give any value."


def _candidates_text(offer: Offer, space: Space) -> str:
    """A table of the candidates, of the parameters in which they differ."""
    names = [name for name in offer.region if name not in offer.constants]
    rows = [[space.keys[name] for name in names], *(cells(one, space.distributions, names) for one in offer.candidates)]
    table = "\n".join(",".join(row) for row in rows)
    return f"Take one of these candidates, the likely best first:\n{table}" if names else ""


def _region_text(region: Region, offer: Offer, space: Space) -> str:
    """The region in one line: "lr from 0.001 to 0.01; optimizer adam or sgd"."""
    listed = "; ".join(_part_text(space, name, part) for name, part in region.items() if name not in offer.constants)
    return f"Stay inside this region: {listed}." if listed else ""


def _summary(situation: Situation, risky: Sequence[Risk], *, with_gaps: bool) -> Iterator[str]:
    """What the trials show, a line each; nothing that the rows themselves say better."""
    evidence, space, axes = situation.evidence, situation.space, situation.evidence.axes.by_name
    strongest = [effect for effect in effects(evidence) if effect.name in space.keys][:MAX_FINDINGS]
    if strongest:
        listed = "; ".join(_effect_text(effect, axes[effect.name], space) for effect in strongest)
        yield f"Strongest effects on the value (rank correlation, {strongest[0].trials} trials): {listed}."
    best, since = evidence.best(1), evidence.since_improvement
    if best and since >= REPORT_STAGNATION_AFTER:
        value = format_number(best[0].value)
        yield f"The best value, {value} of trial {best[0].number}, has stood for {since} trials."
    untried = gaps(evidence.axes, situation.taken) if with_gaps else {}
    shown = [name for name in untried if name in space.keys][:MAX_LISTED]
    if shown:
        yield f"Not tried yet: {'; '.join(_bins_text(axes[name], space, untried[name]) for name in shown)}."
    for risk in [risk for risk in risky if risk.name in space.keys][:MAX_FINDINGS]:
        where = _bins_text(axes[risk.name], space, [risk.bin])
        yield f"Failures: {risk.failed} of {risk.trials} trials with {where}."


def _effect_text(effect: Effect, axis: Axis, space: Space) -> str:
    strength = f"{space.keys[effect.name]} {effect.strength:.2f}"
    if isinstance(effect.best, int):
        return f"{strength}, best {quote(labels(axis.choices)[effect.best], MAX_LABEL_IN_SUMMARY)}"
    return f"{strength}, better when {effect.best}"


def _bins_text(axis: Axis, space: Space, bins: Sequence[int]) -> str:
    if axis.choices:
        rest = f" and {len(bins) - MAX_LISTED} more" if len(bins) > MAX_LISTED else ""
        return _choice_text(space, axis.name, [axis.choices[index] for index in bins[:MAX_LISTED]]) + rest
    # neighbouring bins are one interval: along a run of them, index less position stays the same
    by_run = itertools.groupby(enumerate(bins), lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in run] for _, run in by_run]
    spans = [_interval_text(axis, axis.span(run[0], run[-1])) for run in runs]
    return f"{space.keys[axis.name]} {' or '.join(spans)}"


def _part_text(space: Space, name: str, part: Interval | Choices) -> str:
    if isinstance(part, Choices):
        return _choice_text(space, name, part.values)
    return f"{space.keys[name]} {_interval_text(Axis(name, space.distributions[name]), part)}"


def _interval_text(axis: Axis, part: Interval) -> str:
    low, high = (format_value(end, axis.distribution) for end in (part.low, part.high))
    return low if low == high else f"from {low} to {high}"


def _choice_text(space: Space, name: str, values: Sequence[Any]) -> str:
    return f"{space.keys[name]} {' or '.join(_value(space, name, value) for value in values)}"


def _value(space: Space, name: str, value: Any) -> str:
    text = format_value(value, space.distributions[name])
    return quote(text, MAX_LABEL) if name in space.labels else text
