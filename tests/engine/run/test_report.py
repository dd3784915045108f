"""The report says what a run did, and where its time went; the progress bar says where it stands."""

import io
import logging

import anyio
import clock
import optuna
import pytest
from objectives import score
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import AsyncTrial, RunReport, optimize_async
from optuna_llm.engine.run.report import Tally, describe_study, progress_bar
from optuna_llm.engine.study.door import StudyDoor


@pytest.mark.asyncio
async def test_the_report_counts_calls_reasks_and_what_is_unknown() -> None:
    study = optuna.create_study(sampler=sampler(Script("no", SchemaModel())))
    report = await optimize_async(study, score, n_trials=4, n_workers=2, search_space=SPACE)
    assert report.llm_calls == 5
    assert report.reasks == 1
    assert report.cost is None  # the first reply did not say what it cost
    assert "4 complete" in str(report)


def test_the_time_of_a_run_is_accounted_for() -> None:
    async def objective(trial: AsyncTrial) -> float:
        clock.push(1000.0)
        return 1.0

    async def main() -> RunReport:
        return await optimize_async(study, objective, n_trials=8, search_space=SPACE)

    study = optuna.create_study(sampler=sampler())
    report = clock.run_pushed(main())
    assert report.llm_seconds == pytest.approx(8 * 0.25)  # as the model of the tests says
    assert report.objective_seconds == pytest.approx(8000, rel=0.02)
    assert 0 < report.storage_seconds < 1000
    assert report.utilization == pytest.approx(1, rel=0.02)
    assert report.seconds == pytest.approx(8000, rel=0.02)


def test_utilization_and_idle_time_are_of_the_workers_between_first_launch_and_last_end() -> None:
    tally = Tally(started=0.0, n_workers=2)
    for began, ended in [(10.0, 40.0), (20.0, 50.0)]:
        tally.evaluated(began, ended)
    tally.add(storage_seconds=5.0)
    report = tally.report(now=60.0, stop_reason="n_trials", left_over=0)
    assert report.utilization == 60 / 80
    assert (report.objective_seconds, report.storage_seconds, report.idle_seconds) == (60, 5, 15)


def test_what_asking_took_beyond_the_model_is_the_limiters() -> None:
    tally = Tally(started=0.0, n_workers=1)
    tally.add(limiter_seconds=5.0)
    tally.spent({"latency": 3.5, "calls": 1})
    report = tally.report(now=60.0, stop_reason="n_trials", left_over=0)
    assert (report.llm_seconds, report.limiter_seconds) == (3.5, 1.5)
    assert report.utilization is None  # nothing ran


def test_the_cost_is_unknown_as_soon_as_one_calls_is() -> None:
    tally = Tally(started=0.0, n_workers=1)
    tally.spent({"calls": 1, "usage": {"cost": 0.5}})
    assert tally.counts["cost"] == 0.5
    tally.spent({"calls": 1, "usage": {"cost": None}})
    tally.spent({"calls": 1, "usage": {"cost": 0.5}})
    assert (tally.counts["cost"], tally.counts["llm_calls"]) == (None, 3)


# -- the progress bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(tally: Tally, *, now: float, file: io.StringIO | None = None) -> str:
    """What is drawn of a run of 100 trials, on a terminal by default."""
    file = Terminal() if file is None else file
    with progress_bar(100, file) as bar:
        bar.ncols, bar.dynamic_ncols = 200, None
        tally.show(bar, now=now, running=8, proposing=3)
    return file.getvalue()


def test_the_line_tells_best_running_waiting_rate_tokens_and_cost() -> None:
    tally = Tally(started=10.0, n_workers=8)
    tally.best = optuna.create_trial(value=0.91234567)
    tally.add(llm_calls=31, tokens=12345, cost=0.0213)
    line = "best 0.912346, 8 running, 3 waiting for the LLM, 31 calls/min, 12345 tokens, $0.0213"
    assert line in drawn(tally, now=70.0)


def test_what_is_unknown_is_left_out() -> None:
    tally = Tally(started=10.0, n_workers=8)
    tally.spent({"calls": 31, "usage": {"prompt_tokens": 12345, "cost": None}})
    assert "best -, 8 running, 3 waiting for the LLM, 0 calls/min, 12345 tokens]" in drawn(tally, now=10.0)


def test_a_terminal_shows_finished_of_total() -> None:
    tally = Tally(started=0.0, n_workers=8)
    tally.add(n_complete=9, n_pruned=2, n_failed=1)
    assert "12/100" in drawn(tally, now=1.0)


def test_no_terminal_shows_nothing() -> None:
    assert drawn(Tally(started=0.0, n_workers=8), now=1.0, file=io.StringIO()) == ""


def test_a_run_ends_with_the_bar_full(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    study = optuna.create_study(sampler=sampler())
    anyio.run(
        lambda: optimize_async(
            study, lambda t: t.params["momentum"], n_trials=5, search_space=SPACE, show_progress_bar=True
        )
    )
    assert "5/5" in terminal.getvalue().split("\r")[-1]
    assert f"best {study.best_value:.6g}" in terminal.getvalue()


def test_what_is_said_while_the_bar_is_shown_goes_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    optunas = logging.getLogger("optuna")
    handler = logging.StreamHandler(terminal)
    optunas.addHandler(handler)
    try:
        with progress_bar(3, terminal) as bar:
            bar.refresh()
            optunas.warning("a line")
            assert "\ra line\n" in terminal.getvalue()
        assert handler in optunas.handlers
    finally:
        optunas.removeHandler(handler)


def test_without_a_handler_on_the_terminal_the_bar_adds_none() -> None:
    before = list(logging.getLogger("optuna").handlers)
    with progress_bar(3, Terminal()):
        assert logging.getLogger("optuna").handlers == before


# -- the report as text


def test_the_report_is_a_small_table() -> None:
    tally = Tally(started=0.0, n_workers=2)
    tally.add(n_complete=7, n_failed=1, llm_calls=9, tokens=1234, cached_tokens=200, cost=0.0123, reasks=1)
    tally.evaluated(0.0, 30.0)
    shown = str(tally.report(now=40.0, stop_reason="n_trials", left_over=0)).splitlines()
    assert shown[0] == "7 complete, 0 pruned, 1 failed in 40.0 s, ended by n_trials"
    assert [line[:13].strip() for line in shown[1:]] == ["workers", "model", "proposals", "seconds"]
    assert shown[1][13:] == "50% busy, 0.20 trials/s"
    assert shown[2][13:] == "9 calls, 1234 tokens (200 cached), $0.0123"
    assert max(map(len, shown)) < 100


def test_the_report_says_what_was_written_into_a_cache_if_anything_was() -> None:
    tally = Tally(started=0.0, n_workers=1)
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "cached_tokens": 200, "written_tokens": 50, "cost": 0.5}
    for _ in range(2):
        tally.spent({"calls": 1, "usage": usage})
    report = tally.report(now=1.0, stop_reason="stop", left_over=0)
    assert report.written_tokens == 100
    assert "2 calls, 2000 tokens (400 cached, 100 written to the cache), $1.0000" in str(report)


def test_a_notebook_shows_the_table() -> None:
    report = Tally(started=0.0, n_workers=2).report(now=1.0, stop_reason="stop", left_over=0)
    said: list[str] = []
    printer = type("Printer", (), {"text": lambda _, text: said.append(text)})()
    report._repr_pretty_(printer, cycle=False)
    assert said == [str(report)]
    assert "nothing ran" in said[0]


def test_a_notebook_shows_a_table() -> None:
    report = Tally(started=0.0, n_workers=2).report(now=1.0, stop_reason="<stop>", left_over=0)
    page = report._repr_html_()
    assert page.startswith("<table><caption>0 complete, 0 pruned, 0 failed in 1.0 s, ended by &lt;stop&gt;</caption>")
    assert "<tr><th>workers</th><td>nothing ran, 0.00 trials/s</td></tr>" in page


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ([0.25, 0.5], "2 requests, 200 tokens, $0.7500"),
        ([0.25, None], "2 requests, 200 tokens, at least $0.2500"),
        ([None, None], "2 requests, 200 tokens, at unknown cost"),
    ],
)
def test_a_study_that_goes_on_says_what_is_not_known_of_its_cost(costs: list[float | None], said: str) -> None:
    study = optuna.create_study()
    for cost in costs:
        usage = {"prompt_tokens": 90, "completion_tokens": 10, "cost": cost}
        study.add_trial(optuna.create_trial(value=1.0, user_attrs={"llm": {"calls": 1, "usage": usage}}))
    assert describe_study(StudyDoor(study).refresh(), None) == f"2 complete; asking for them took {said}"
