"""The two forms of guidance: a region in words, or a menu of values."""

from collections.abc import Mapping
from typing import Final, Literal

from ..roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from ..space.axes import Region
from .findings import find
from .regions import Plan, plan
from .strategy import Guidance, Situation
from .words import candidates_text, idle_text, kept_text, region_text, summary

ROLES: Final[Mapping[str, str]] = {
    FIRST_GUESS: "Role: first guess. Little is known yet: give what you know to work best on such a task.",
    EXPLORE: "Role: explore. Look where little is known, or where a good value may be.",
    REFINE: "Role: refine. Improve on trial {number}: change what promises most.",
    COMBINE: "Role: combine. Put together what the best trials do well into a configuration that none of them is.",
}


def formed(strategy: str, situation: Situation, role: str, form: Literal["words", "menu"]) -> Guidance:
    """The guidance of a role; it explores where the role has nothing new to offer.

    A first guess is free, and so is an ask where nothing new is left at all.
    """
    findings = find(situation.evidence)
    made = None if role == FIRST_GUESS else plan(role, situation, findings.risks)
    if made is None and role in (REFINE, COMBINE):
        return formed(strategy, situation, EXPLORE, form)
    lines = summary(findings, situation, menu=made is not None and form == "menu")
    if made is None:
        return Guidance(strategy=strategy, role=role, words=ROLES[role] if role == FIRST_GUESS else "", summary=lines)
    number = None if made.base is None else made.base.number
    kept = kept_text(made.kept, made.base, situation.space)
    idle = idle_text(made.idle, situation.space)
    region = _narrowing(made, situation) if form == "words" else made.region
    place = _region(region, made, situation) if form == "words" else _menu(made, situation)
    return Guidance(
        strategy=strategy,
        role=role,
        form=form,
        region=region,
        menu=made.menu if form == "menu" else {},
        offered=made.places.tolist() if form == "menu" else (),
        words=" ".join(part for part in (ROLES[role].format(number=number), kept, idle, place) if part),
        summary=lines,
    )


def _narrowing(made: Plan, situation: Situation) -> Region:
    """The region without the parameters of which it holds everything."""
    by_name = situation.evidence.axes.by_name
    return {name: part for name, part in made.region.items() if part != by_name[name].full_part}


def _region(region: Region, made: Plan, situation: Situation) -> str:
    varied = {name: part for name, part in region.items() if name not in made.kept}
    return f"Stay inside this region: {region_text(varied, situation.space)}." if varied else ""


def _menu(made: Plan, situation: Situation) -> str:
    varied = [name for name in made.region if name not in made.kept]
    rows = candidates_text(made.candidates, varied, situation.space)
    return f"Take one of these candidates, the likely best first:\n{rows}" if varied else ""
