"""Menus: the role that an ask has, and what becomes of the reply to one."""

from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from support import SPACE, Script, prompt, sampler

from optuna_llm import ClientError, Guidance, ProposalError, Request, Situation, optimize_async
from optuna_llm.samplers.guidance.menu import COMBINE_AFTER, COMBINE_EVERY, role_of
from optuna_llm.samplers.guidance.offer import DESIGN_SIZE
from optuna_llm.samplers.prompt.menu import DECLINE
from optuna_llm.samplers.provenance import read_guidance
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence

COLUMNS = make_space(SPACE)
ONE: dict[str, Any] = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": None}
FREE: dict[str, Any] = {"rationale": "mine", "lr": 0.05, "momentum": 0.2, "layers": 7, "optimizer": "sgd"}


def at(*values: float, ordinal: int | None = None, proposed: int | None = None) -> Situation:
    """The situation after complete trials with these values, all of them from the model unless said otherwise."""
    trials: list[FrozenTrial] = []
    for number, value in enumerate(values):
        trials.append(create_trial(params={**ONE, "lr": 10 ** -(1 + number / 50)}, distributions=SPACE, value=value))
        trials[-1].number = number
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    evidence.update(trials)
    return Situation(
        space=COLUMNS,
        direction=StudyDirection.MINIMIZE,
        evidence=evidence,
        ordinal=len(values) if ordinal is None else ordinal,
        proposed=len(values) if proposed is None else proposed,
    )


def improving(count: int) -> list[float]:
    return [float(count - number) for number in range(count)]


def test_while_there_are_no_values_all_asks_after_the_first_guess_explore() -> None:
    assert role_of(at()) == "first guess"
    assert [role_of(at(ordinal=n, proposed=n)) for n in range(1, 40)] == ["explore"] * 39


def test_while_the_study_improves_asks_refine_and_explore_in_turns() -> None:
    roles = [role_of(at(*improving(20), ordinal=ordinal)) for ordinal in range(DESIGN_SIZE, 24)]
    assert roles == ["refine", "explore"] * 10


def test_one_ask_in_so_many_combines_once_nothing_has_improved_for_some_trials() -> None:
    ordinals = range(COMBINE_EVERY * 2, COMBINE_EVERY * 4)
    stuck = [role_of(at(*improving(9), *[50.0] * COMBINE_AFTER, ordinal=ordinal)) for ordinal in ordinals]
    assert [role == "combine" for role in stuck] == [ordinal % COMBINE_EVERY == 0 for ordinal in ordinals]
    soon = [role_of(at(*improving(9), *[50.0] * (COMBINE_AFTER - 1), ordinal=ordinal)) for ordinal in ordinals]
    assert "combine" not in soon


def test_trials_of_others_take_the_place_of_a_first_guess_if_there_are_enough() -> None:
    assert role_of(at(*improving(DESIGN_SIZE - 1), proposed=0)) == "first guess"
    assert role_of(at(*improving(DESIGN_SIZE), proposed=0)) == "refine"


class Offering:
    """A strategy that offers the same two candidates on every ask."""

    name = "offering"
    candidates = ({**ONE, "layers": 5}, {**ONE, "layers": 9})

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def guide(self, situation: Situation) -> Guidance:
        return Guidance(strategy=self.name, reason="to see", candidates=self.candidates, optional=self.optional)


async def answered(*replies: Any, max_reasks: int = 2, optional: bool = False) -> tuple[optuna.Study, Script]:
    """A study of one trial, whose ask had the two candidates and got these replies."""
    script = Script(*replies)
    study = optuna.create_study(sampler=sampler(script, strategy=Offering(optional=optional), max_reasks=max_reasks))
    await optimize_async(study, lambda trial: 0.0, n_trials=1, search_space=SPACE)
    return study, script


def last(request: Request) -> str:
    return request.messages[-1]["content"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("number", "layers"), [(1, 5), (2, 9), ("#2", 9), (2.0, 9)])
async def test_the_candidate_whose_number_is_named_is_tried_as_it_was_offered(number: Any, layers: int) -> None:
    study, script = await answered({"rationale": "because", "candidate": number})
    assert study.trials[0].params == {**ONE, "layers": layers}
    assert len(script.requests) == 1
    record = study.trials[0].user_attrs["llm"]
    assert (record["form"], record["repairs"], record["rationale"]) == ("menu", [], "because")


@pytest.mark.asyncio
@pytest.mark.parametrize("wrong", [0, 3, "third", True, 1.5, None])
async def test_a_number_of_no_candidate_is_asked_anew_with_the_range(wrong: Any) -> None:
    study, script = await answered({"rationale": "", "candidate": wrong}, {"rationale": "", "candidate": 2})
    assert study.trials[0].params == {**ONE, "layers": 9}
    assert "give a number from 1 to 2" in last(script.requests[1])
    assert script.requests[1].schema == script.requests[0].schema
    assert study.trials[0].user_attrs["llm"]["reasks"] == 1


@pytest.mark.asyncio
async def test_a_model_that_only_names_numbers_of_no_candidate_fails_the_ask_by_saying_so() -> None:
    with pytest.raises(ProposalError, match="give a number from 1 to 2"):
        await answered({"rationale": "", "candidate": 7}, max_reasks=1)


@pytest.mark.asyncio
async def test_a_reply_with_values_of_its_own_is_taken_although_there_is_a_menu() -> None:
    study, script = await answered(FREE)
    assert study.trials[0].params == {name: FREE[name] for name in SPACE}
    assert len(script.requests) == 1


@pytest.mark.asyncio
async def test_values_of_its_own_are_repaired_and_refused_as_those_of_a_free_ask() -> None:
    study, script = await answered({**FREE, "optimizer": "lion"}, {**FREE, "layers": 8})
    assert "`optimizer`" in last(script.requests[1])
    record = study.trials[0].user_attrs["llm"]
    assert [repair for repair in record["repairs"] if "layers" in repair]


DECLINED = {"rationale": "none", "candidate": 0}
OWN = {name: FREE[name] for name in SPACE}


@pytest.mark.asyncio
async def test_a_model_that_declines_a_menu_is_asked_the_same_without_it() -> None:
    study, script = await answered(DECLINED, FREE, optional=True)
    menu, free = map(last, script.requests)
    assert DECLINE in menu
    assert "candidate" not in free
    assert free.split("Propose")[0] == menu.split("Propose")[0]
    assert list(script.requests[1].schema["properties"]) == ["rationale", *SPACE]
    assert study.trials[0].params == OWN


@pytest.mark.asyncio
async def test_a_trial_whose_menu_was_declined_is_a_free_one_and_no_reask() -> None:
    study, _ = await answered(DECLINED, FREE, optional=True)
    record = study.trials[0].user_attrs["llm"]
    assert [record[key] for key in ("form", "role", "reason")] == ["plain", "propose", "declined a menu: to see"]
    assert (record["calls"], record["reasks"]) == (2, 0)
    assert not read_guidance(study.trials[0]).stumbled


@pytest.mark.asyncio
@pytest.mark.parametrize("optional", [False, True])
async def test_values_of_its_own_make_a_free_trial_at_once(optional: bool) -> None:
    study, script = await answered(FREE, optional=optional)
    record = study.trials[0].user_attrs["llm"]
    assert (record["form"], record["calls"], len(script.requests)) == ("plain", 1, 1)


@pytest.mark.asyncio
async def test_a_candidate_of_a_menu_that_may_be_declined_is_taken_as_of_any() -> None:
    study, _ = await answered({"rationale": "", "candidate": 2}, optional=True)
    assert study.trials[0].params == {**ONE, "layers": 9}
    assert study.trials[0].user_attrs["llm"]["form"] == "menu"


@pytest.mark.asyncio
async def test_a_declined_menu_leaves_all_re_asks() -> None:
    wrong = {**FREE, "optimizer": "lion"}
    study, script = await answered(DECLINED, wrong, FREE, optional=True, max_reasks=1)
    record = study.trials[0].user_attrs["llm"]
    assert (record["calls"], record["reasks"], record["form"]) == (3, 1, "plain")
    assert script.requests[2].messages[: len(script.requests[1].messages)] == script.requests[1].messages
    with pytest.raises(ProposalError, match="no valid configuration in 2 attempts"):
        await answered(DECLINED, wrong, wrong, optional=True, max_reasks=1)


@pytest.mark.asyncio
async def test_an_error_after_a_declined_menu_has_the_free_ask_on_record() -> None:
    with pytest.raises(ClientError) as raised:
        await answered(DECLINED, ClientError("the key is wrong"), optional=True)
    record = raised.value.provenance
    assert [record[key] for key in ("form", "reason", "calls", "reasks")] == ["plain", "declined a menu: to see", 1, 0]


@pytest.mark.asyncio
async def test_a_menu_of_a_space_that_has_a_parameter_candidate_is_answered_under_another_key() -> None:
    class Numbered:
        name = "numbered"

        def guide(self, situation: Situation) -> Guidance:
            return Guidance(strategy=self.name, candidates=[{"candidate": 0.25}, {"candidate": 0.75}])

    script = Script({"rationale": "", "candidate_": 2})
    study = optuna.create_study(sampler=sampler(script, strategy=Numbered()))
    space = {"candidate": optuna.distributions.FloatDistribution(0, 1)}
    await optimize_async(study, lambda trial: 0.0, n_trials=1, search_space=space)
    assert study.trials[0].params == {"candidate": 0.75}
    assert "candidate_,candidate\n1,0.25\n2,0.75\n" in prompt(script.requests[0])
    assert list(script.requests[0].schema["properties"]) == ["rationale", "candidate_"]
