"""The schedule keeps its invariants under any order of events."""

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from optuna_llm.engine.errors import BudgetExhaustedError, NoRoom, OptunaLLMError, ProposalError, SpaceExhausted
from optuna_llm.engine.run.schedule import (
    Action,
    CancelProposals,
    Discard,
    Finished,
    Launch,
    Missed,
    Pause,
    Propose,
    Proposed,
    ProposingFailed,
    Recheck,
    Rechecked,
    Resumed,
    RunPlan,
    Schedule,
    StopRequested,
)


class Outage(OptunaLLMError):
    transient = True


class AnyOrder(RuleBasedStateMachine):
    """Plays the shell: keeps what is under way, and lets it end in any order."""

    @initialize(n_workers=st.integers(1, 5), n_trials=st.none() | st.integers(0, 12), prefetch=st.integers(0, 4))
    def begin(self, n_workers: int, n_trials: int | None, prefetch: int) -> None:
        self.plan = RunPlan(n_workers=n_workers, n_trials=n_trials, prefetch=prefetch)
        self.schedule = Schedule(self.plan)
        self.names = itertools.count()
        self.proposing = 0
        self.running: set[int] = set()
        self.made: set[int] = set()
        self.launched: list[int] = []
        self.missed = 0
        self.discarded: list[int] = []
        self.failed_proposals = 0
        self.finished = 0
        self.stopped = False
        self.pauses = 0
        self.rechecks = 0
        self.full = False
        self.clock = 0.0
        self.act(self.schedule.start())

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Propose():
                    assert not self.stopped, "asked after a stop"
                    assert not self.pauses, "asked in a pause"
                    assert not self.full, "asked where there was no room"
                    self.proposing += 1
                case Recheck():
                    self.rechecks += 1
                case CancelProposals():
                    assert self.proposing
                case Launch(candidate):
                    self.launched.append(candidate)
                    self.running.add(candidate)
                case Discard(candidate):
                    self.discarded.append(candidate)
                case Pause(seconds):
                    assert 0 < seconds <= self.plan.patience
                    self.pauses += 1

    @precondition(lambda self: self.proposing)
    @rule(seconds=st.floats(0, 200))
    def the_model_does_not_answer(self, seconds: float) -> None:
        self.proposing -= 1
        self.failed_proposals += 1
        self.clock += seconds
        actions = self.schedule.handle(ProposingFailed(Outage("down"), self.clock))
        self.stopped = self.schedule.stop_reason not in (None, "n_trials")
        self.act(actions)

    @precondition(lambda self: self.proposing)
    @rule(final=st.booleans())
    def the_study_has_no_room(self, final: bool) -> None:
        self.proposing -= 1
        self.failed_proposals += 1
        self.full = True
        actions = self.schedule.handle(ProposingFailed(NoRoom("full", final=final)))
        self.stopped = self.schedule.stop_reason not in (None, "n_trials")
        assert self.stopped >= final
        self.act(actions)

    @precondition(lambda self: self.rechecks)
    @rule()
    def others_may_have_made_room(self) -> None:
        self.rechecks -= 1
        self.full = False
        self.act(self.schedule.handle(Rechecked()))

    @invariant()
    def there_is_one_recheck_at_a_time(self) -> None:
        if hasattr(self, "plan"):
            assert self.rechecks <= 1

    @precondition(lambda self: self.pauses)
    @rule()
    def a_pause_ends(self) -> None:
        self.pauses -= 1
        self.act(self.schedule.handle(Resumed()))

    @invariant()
    def there_is_one_pause_at_a_time(self) -> None:
        if hasattr(self, "plan"):
            assert self.pauses <= 1

    @precondition(lambda self: self.proposing)
    @rule(has_content=st.booleans())
    def a_proposal_is_ready(self, has_content: bool) -> None:
        self.proposing -= 1
        name = next(self.names)
        self.made.add(name)
        self.act(self.schedule.handle(Proposed(name, has_content)))

    @precondition(lambda self: self.proposing)
    @rule(error=st.sampled_from([ProposalError("no"), BudgetExhaustedError("spent"), RuntimeError("fatal")]))
    def a_proposal_fails(self, error: Exception) -> None:
        self.proposing -= 1
        self.failed_proposals += 1
        self.stopped = self.stopped or not isinstance(error, ProposalError)
        actions = self.schedule.handle(ProposingFailed(error))
        self.stopped = self.schedule.stop_reason not in (None, "n_trials")
        self.act(actions)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), error=st.sampled_from([None, None, None, RuntimeError("objective")]))
    def a_trial_finishes(self, data: st.DataObject, error: Exception | None) -> None:
        self.running.remove(data.draw(st.sampled_from(sorted(self.running))))
        self.finished += 1
        self.full = False
        self.stopped = self.stopped or error is not None
        self.act(self.schedule.handle(Finished(error)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_launch_finds_nothing(self, data: st.DataObject) -> None:
        self.running.remove(data.draw(st.sampled_from(sorted(self.running))))
        self.missed += 1
        self.act(self.schedule.handle(Missed()))

    @rule(keep=st.booleans())
    def somebody_stops(self, keep: bool) -> None:
        self.stopped = True
        self.act(self.schedule.handle(StopRequested("stop", keep_proposing=keep)))

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "plan"):
            return
        state = self.schedule
        assert state.proposing == self.proposing
        assert state.running == len(self.running) <= self.plan.n_workers
        assert state.launched == len(self.launched) - self.missed
        if self.plan.n_trials is not None:
            assert state.launched + len(state.ready) + state.proposing <= self.plan.n_trials or state.launched == 0
            assert state.launched <= self.plan.n_trials
        assert len(state.ready) <= self.plan.prefetch + self.plan.n_workers

    @invariant()
    def no_proposal_is_lost_or_used_twice(self) -> None:
        if not hasattr(self, "plan"):
            return
        used = self.launched + self.discarded
        assert len(used) == len(set(used))
        assert len(self.made) == len(used) + len(self.schedule.ready)

    @invariant()
    def workers_do_not_idle_beside_ready_proposals(self) -> None:
        if not hasattr(self, "plan"):
            return
        assert not (self.schedule.ready and len(self.running) < self.plan.n_workers)

    @invariant()
    def a_run_that_is_not_done_has_something_under_way(self) -> None:
        if not hasattr(self, "plan"):
            return
        under_way = self.proposing + len(self.running)
        if not self.schedule.done:
            assert under_way or self.pauses or self.rechecks
        else:
            assert not under_way

    def teardown(self) -> None:
        if not hasattr(self, "plan"):
            return
        self.act(self.schedule.handle(StopRequested("stop")))
        self.stopped = True
        while self.proposing:
            self.proposing -= 1
            self.act(self.schedule.handle(ProposingFailed(RuntimeError("cancelled"))))
        while self.running:
            self.running.pop()
            self.act(self.schedule.handle(Finished()))
        assert self.schedule.done


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def run_to_launch(schedule: Schedule, count: int) -> None:
    schedule.start()
    for name in range(count):
        schedule.handle(Proposed(name))


def test_a_coupled_run_asks_for_one_proposal_for_each_idle_worker() -> None:
    assert Schedule(RunPlan(n_workers=3, n_trials=10)).start() == [Propose(10), Propose(9), Propose(8)]


def test_prefetch_asks_ahead_of_busy_workers() -> None:
    started = Schedule(RunPlan(n_workers=2, n_trials=10, prefetch=3)).start()
    assert started == [Propose(10), Propose(9), Propose(8), Propose(7), Propose(6)]


def test_the_last_trials_are_not_asked_for_twice() -> None:
    assert Schedule(RunPlan(n_workers=4, n_trials=2, prefetch=4)).start() == [Propose(2), Propose(1)]


def test_without_an_end_nobody_knows_how_many_are_left() -> None:
    assert Schedule(RunPlan(n_workers=2)).start() == [Propose(), Propose()]


def test_zero_trials_are_done_at_once() -> None:
    schedule = Schedule(RunPlan(n_workers=4, n_trials=0))
    assert schedule.start() == []
    assert schedule.done
    assert schedule.stop_reason == "n_trials"


def test_failed_proposals_in_a_row_end_the_run_with_the_last_error() -> None:
    schedule = Schedule(RunPlan(n_workers=1, max_failed_proposals=2))
    schedule.start()
    assert schedule.handle(ProposingFailed(ProposalError("first"))) == [Propose()]
    last = ProposalError("second")
    assert schedule.handle(ProposingFailed(last)) == []
    assert schedule.done
    assert schedule.error is last


def test_a_proposal_with_content_ends_a_row_of_failures() -> None:
    schedule = Schedule(RunPlan(n_workers=1, max_failed_proposals=2))
    schedule.start()
    schedule.handle(ProposingFailed(ProposalError("first")))
    schedule.handle(Proposed("a"))
    schedule.handle(Finished())
    assert schedule.handle(ProposingFailed(ProposalError("second"))) == [Propose()]


def test_a_proposal_without_content_does_not_end_a_row_of_failures() -> None:
    schedule = Schedule(RunPlan(n_workers=1, max_failed_proposals=2))
    schedule.start()
    schedule.handle(Proposed("empty", has_content=False))
    schedule.handle(Finished(ProposalError("first")))
    schedule.handle(Proposed("empty", has_content=False))
    schedule.handle(Finished(ProposalError("second")))
    assert schedule.done
    assert isinstance(schedule.error, ProposalError)


def test_too_many_failures_stop_from_the_fifth_trial_on() -> None:
    schedule = Schedule(RunPlan(n_workers=1, max_failure_rate=0.5))
    schedule.start()
    for number, failed in enumerate([True, True, True, True]):
        schedule.handle(Proposed(number))
        schedule.handle(Finished(failed=failed))
    assert schedule.stop_reason is None
    schedule.handle(Proposed("fifth"))
    schedule.handle(Finished(failed=False))
    assert schedule.stop_reason == "max_failure_rate"


def test_an_exhausted_space_evaluates_what_is_under_way() -> None:
    schedule = Schedule(RunPlan(n_workers=2))
    schedule.start()
    schedule.handle(Proposed("a"))
    schedule.handle(ProposingFailed(SpaceExhausted()))
    schedule.handle(Finished())
    assert schedule.done
    assert (schedule.stop_reason, schedule.error) == ("exhausted", None)


def test_an_exhausted_budget_evaluates_what_is_being_proposed() -> None:
    schedule = Schedule(RunPlan(n_workers=1, prefetch=2))
    schedule.start()
    schedule.handle(ProposingFailed(BudgetExhaustedError("spent")))
    assert schedule.handle(Proposed("a")) == [Launch("a")]
    assert schedule.handle(Proposed("b")) == []
    assert schedule.handle(Finished()) == [Launch("b")]
    schedule.handle(Finished())
    assert schedule.done
    assert schedule.error is None
    assert schedule.stop_reason == "budget"


def test_a_stop_cancels_proposals_and_counts_what_is_left_over() -> None:
    schedule = Schedule(RunPlan(n_workers=1, prefetch=2))
    run_to_launch(schedule, 2)
    assert schedule.handle(StopRequested("timeout")) == [CancelProposals(), Discard(1)]
    schedule.handle(ProposingFailed(RuntimeError("cancelled")))
    schedule.handle(Finished())
    assert schedule.done
    assert schedule.left_over == 2
    assert schedule.error is None


@pytest.mark.parametrize("late", [Proposed("late"), ProposingFailed(RuntimeError("late"))])
def test_an_error_of_an_objective_drains_the_others_and_is_kept(late: Proposed[str] | ProposingFailed) -> None:
    schedule = Schedule(RunPlan(n_workers=2))
    run_to_launch(schedule, 2)
    boom = ValueError("boom")
    schedule.handle(Finished(boom))
    assert not schedule.done
    schedule.handle(Finished())
    assert (schedule.done, schedule.error) == (True, boom)


def test_an_outage_pauses_longer_and_longer_and_one_proposal_tries() -> None:
    schedule = Schedule(RunPlan(n_workers=4, n_trials=9, patience=100))
    schedule.start()
    (pause,) = schedule.handle(ProposingFailed(Outage("down"), 10.0))
    assert isinstance(pause, Pause)
    assert [schedule.handle(ProposingFailed(Outage("down"), 10.0)) for _ in range(3)] == [[], [], []]
    seconds = [pause.seconds]
    for _ in range(3):
        assert schedule.handle(Resumed()) == [Propose(9)]
        (pause,) = schedule.handle(ProposingFailed(Outage("down"), 20.0))
        assert isinstance(pause, Pause)
        seconds.append(pause.seconds)
    assert seconds == [1, 2, 4, 8]


def test_a_proposal_that_comes_ends_the_outage() -> None:
    schedule = Schedule(RunPlan(n_workers=3, n_trials=9))
    schedule.start()
    for _ in range(3):
        schedule.handle(ProposingFailed(Outage("down"), 0.0))
    assert schedule.handle(Resumed()) == [Propose(9)]
    assert schedule.handle(Proposed("a")) == [Launch("a"), Propose(8), Propose(7)]
    later = Outage("down again")
    assert schedule.handle(ProposingFailed(later, 10_000.0)) == [Pause(1.0, later)]


def test_what_the_server_asked_for_is_waited() -> None:
    error = Outage("down")
    error.retry_after = 300.0  # type: ignore[attr-defined]
    schedule = Schedule(RunPlan(n_workers=1, patience=600))
    schedule.start()
    assert schedule.handle(ProposingFailed(error, 0.0)) == [Pause(300.0, error)]


def test_an_outage_longer_than_patience_ends_the_run_with_its_error() -> None:
    schedule = Schedule(RunPlan(n_workers=1, patience=50))
    schedule.start()
    schedule.handle(ProposingFailed(Outage("down"), 0.0))
    schedule.handle(Resumed())
    error = Outage("still down")
    assert schedule.handle(ProposingFailed(error, 50.0)) == []
    assert schedule.done
    assert schedule.error is error
    assert "patience=50" in error.__notes__[0]


def test_without_patience_an_outage_ends_the_run_at_once() -> None:
    schedule = Schedule(RunPlan(n_workers=1, patience=0))
    schedule.start()
    assert schedule.handle(ProposingFailed(Outage("down"), 7.0)) == []
    assert schedule.done


class Unreached(Outage):
    """An outage of a model that has never answered."""

    unreached = True


def test_a_model_that_never_answered_is_not_waited_for_as_long_as_one_that_did() -> None:
    schedule = Schedule(RunPlan(n_workers=1, patience=600))
    schedule.start()
    (pause,) = schedule.handle(ProposingFailed(Unreached("down"), 15.0, began=4.0))
    assert isinstance(pause, Pause)
    schedule.handle(Resumed())
    error = Unreached("still down")
    assert schedule.handle(ProposingFailed(error, 24.0, began=16.0)) == []
    assert schedule.done
    assert schedule.error is error
    assert "patience=20" in error.__notes__[0]


def test_patience_holds_once_the_model_has_answered() -> None:
    schedule = Schedule(RunPlan(n_workers=1, patience=600))
    schedule.start()
    schedule.handle(ProposingFailed(Unreached("down"), 5.0, began=4.0))
    schedule.handle(Resumed())
    (pause,) = schedule.handle(ProposingFailed(Outage("overloaded"), 60.0, began=6.0))
    assert isinstance(pause, Pause)


def after(plan: RunPlan, *trials: Finished) -> str | None:
    """Why a run ends after these trials, one after the other."""
    schedule = Schedule(plan)
    schedule.start()
    for number, trial in enumerate(trials):
        if schedule.stop_reason is None:
            schedule.handle(Proposed(number))
            schedule.handle(trial)
    return schedule.stop_reason


BROKEN, OTHER, ENDED = Finished(failed=True, kind="OSError"), Finished(failed=True, kind="ValueError"), Finished()
TOLD_BY_OTHERS = Finished(failed=True)


@pytest.mark.parametrize(
    ("plan", "trials", "reason"),
    [
        ({}, [BROKEN] * 9, None),
        ({}, [BROKEN] * 10, "all_failed"),
        ({}, [BROKEN] * 5 + [TOLD_BY_OTHERS] + [BROKEN] * 5, "all_failed"),
        ({}, [BROKEN] * 9 + [TOLD_BY_OTHERS] * 9, None),
        ({}, [ENDED] + [BROKEN] * 50, None),
        ({}, [BROKEN] * 9 + [ENDED] + [BROKEN] * 50, None),
        ({}, [BROKEN] * 9 + [OTHER] + [BROKEN] * 50, None),
        ({"n_workers": 8}, [BROKEN] * 15, None),
        ({"n_workers": 8}, [BROKEN] * 16, "all_failed"),
        ({"pays": False}, [BROKEN] * 50, None),
        ({"n_trials": 60}, [BROKEN] * 50, None),
        ({"max_failure_rate": 1}, [BROKEN] * 50, None),
    ],
)
def test_first_trials_that_all_fail_alike_end_a_run_that_nothing_else_would_end(
    plan: dict[str, Any], trials: list[Finished], reason: str | None
) -> None:
    assert after(RunPlan(**{"n_workers": 1, "pays": True, **plan}), *trials) == reason
