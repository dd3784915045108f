"""`"guided"`: a role and a region in words, different for asks that are in flight together."""

from typing import Final

from .planning import role_of
from .regions import Plan, cross, empty_region, trust_region
from .roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .strategy import Guidance, Situation
from .words import region_text, summary

GUESS = "Role: first guess. Nothing is known yet: give the configuration that you know to work best on such a task."


class Guided:
    """Tells the model what this ask is for and where to look; the values are its own."""

    name: Final = "guided"

    def guide(self, situation: Situation) -> Guidance:
        """A role by the study's progress, and its region in words."""
        return worded(self.name, situation, role_of(situation))


def worded(strategy: str, situation: Situation, role: str) -> Guidance:
    """The guidance of a role with its region in words."""
    lines = summary(situation.evidence, situation.space)
    if role == FIRST_GUESS:
        return Guidance(strategy=strategy, role=role, form="words", words=GUESS, summary=lines)
    plan = plan_of(role, situation)
    words = _words(role, plan, situation)
    return Guidance(strategy=strategy, role=role, form="words", region=plan.region, words=words, summary=lines)


def plan_of(role: str, situation: Situation) -> Plan:
    """Region and menu of a role."""
    plans = {EXPLORE: empty_region, REFINE: trust_region, COMBINE: cross}
    return plans[role](situation)


def _words(role: str, plan: Plan, situation: Situation) -> str:
    where = region_text(plan.region, situation.space, list(plan.region))
    if plan.base is None:
        return f"Role: explore. Give the best configuration that you expect inside this little tried region: {where}."
    if role == COMBINE:
        return (
            "Role: combine. Put together what the best trials do well into one configuration that none of them is, "
            f"inside this region: {where}."
        )
    return (
        f"Role: refine. Improve on trial {plan.base.number}: change what promises most, and stay inside this region "
        f"around it: {where}."
    )
