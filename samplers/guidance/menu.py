"""`"menu"`: a few values for each parameter, drawn in the region of the ask's role; the model chooses among them."""

from typing import Final

from .guided import GUESS, plan_of
from .planning import role_of
from .regions import Plan, has_news
from .roles import COMBINE, FIRST_GUESS
from .strategy import Guidance, Situation
from .words import kept_text, menu_text, summary

INTROS: Final = {
    "explore": "Role: explore. This part of the space is little tried.",
    "refine": "Role: refine. Improve on trial {number}.",
    "combine": "Role: combine. Put together what the best trials do well.",
}


class Menu:
    """Narrows the choice to what a small model can weigh."""

    name: Final = "menu"

    def guide(self, situation: Situation) -> Guidance:
        """A role by the study's progress, and its menu."""
        return listed(self.name, situation, role_of(situation))


def listed(strategy: str, situation: Situation, role: str) -> Guidance:
    """The guidance of a role with a menu; without one where it would hold nothing new."""
    lines = summary(situation.evidence, situation.space)
    if role == FIRST_GUESS:
        return Guidance(strategy=strategy, role=role, form="menu", words=GUESS, summary=lines)
    plan = plan_of(role, situation)
    if not has_news(situation, plan.menu):
        return Guidance(strategy=strategy, role=role, form="menu", summary=lines)
    words = _words(role, plan, situation)
    return Guidance(
        strategy=strategy,
        role=role,
        form="menu",
        region=plan.region,
        menu=plan.menu,
        words=words,
        summary=lines,
    )


def _words(role: str, plan: Plan, situation: Situation) -> str:
    number = "" if plan.base is None else str(plan.base.number)
    varied = [name for name, values in plan.menu.items() if len(values) > 1]
    same = kept_text(plan.base, situation.space, varied) if plan.base and role != COMBINE else ""
    intro = " ".join(part for part in (INTROS[role].format(number=number), same) if part)
    return f"{intro} Choose the most promising of these values:\n{menu_text(plan.menu, situation.space, varied)}"
