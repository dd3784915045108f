"""The two forms of guidance: a region in words, or a menu of values."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from .findings import Findings, find
from .regions import Plan, cross, empty_region, has_news, trust_region
from .roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .strategy import Guidance, Situation
from .words import kept_text, menu_text, region_text, summary

Form: TypeAlias = Literal["words", "menu"]

PLANS: Final[Mapping[str, Callable[[Situation, Findings], Plan]]] = {
    EXPLORE: empty_region,
    REFINE: trust_region,
    COMBINE: cross,
}
ROLES: Final = {
    FIRST_GUESS: "Role: first guess. Nothing is known yet: give what you know to work best on such a task.",
    EXPLORE: "Role: explore. Give the best configuration that you expect in this little tried part of the space.",
    REFINE: "Role: refine. Improve on trial {number}: change what promises most.",
    COMBINE: "Role: combine. Put together what the best trials do well into a configuration that none of them is.",
}


def formed(strategy: str, situation: Situation, role: str, form: Form) -> Guidance:
    """The guidance of a role; without region and menu where those would hold nothing new."""
    findings = find(situation.evidence)
    lines = summary(findings, situation.evidence, situation.space)
    plan = PLANS[role](situation, findings) if role in PLANS else None
    if plan is None or not has_news(situation, plan.menu):
        words = ROLES[role] if role == FIRST_GUESS else ""
        return Guidance(strategy=strategy, role=role, form=form, words=words, summary=lines)
    number = None if plan.base is None else plan.base.number
    place = _region(plan, situation) if form == "words" else _menu(plan, situation)
    return Guidance(
        strategy=strategy,
        role=role,
        form=form,
        region=plan.region,
        menu=plan.menu if form == "menu" else {},
        words=f"{ROLES[role].format(number=number)} {place}",
        summary=lines,
    )


def _region(plan: Plan, situation: Situation) -> str:
    return f"Stay inside this region: {region_text(plan.region, situation.space)}."


def _menu(plan: Plan, situation: Situation) -> str:
    choose = f"Choose the most promising of these values:\n{menu_text(plan.menu, situation.space)}"
    return " ".join(part for part in (kept_text(plan.menu, situation.space), choose) if part)
