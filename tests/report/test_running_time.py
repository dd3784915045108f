"""The time between runs is on no axis of times, and runs are numbered as the page lists them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from report_support import BEGAN, finished, llm_record, study_of

from optuna_llm.report import write_report
from optuna_llm.report.figures import Figure, figures_of
from optuna_llm.report.findings import Findings, findings_of
from optuna_llm.report.timeline import Timeline

HOUR = 3600.0
DIED = {"type": "RunDied", "message": "the run that evaluated this trial died"}


def ran(began: float, ended: float, run: str | None, *, latency: float = 0.0, **more: Any) -> Any:
    """A trial of a run, on its first worker."""
    record = {"llm": llm_record(latency=latency, run=run, worker=0)} if run else {}
    return finished(began, ended, None if "failure" in more else 1.0, **record, **more)


def ended(study: optuna.Study, run: str, at: float, reason: str = "n_trials") -> None:
    """Write how a run ended, so many seconds after the first start."""
    end = {"ended": (BEGAN + timedelta(seconds=at)).timestamp(), "stop_reason": reason}
    study.set_user_attr(f"llm_run:{run}", end)


def seconds(findings: Findings) -> list[float]:
    return [findings.time.seconds(row["datetime_complete"]) for row in findings.ended]


def evaluated(timeline: Timeline) -> dict[int, tuple[float, float]]:
    return {part.trial: (part.began, part.ended) for part in timeline.stretches if part.kind in ("COMPLETE", "FAIL")}


def marks(figure: Figure) -> list[float]:
    return [shape["x0"] for shape in figure["layout"].get("shapes", ())]


def test_the_time_between_two_runs_is_left_out_and_marked_where_it_was() -> None:
    findings = findings_of(study_of(ran(0, 10, "a"), ran(HOUR, HOUR + 5, "b"), ran(HOUR + 5, HOUR + 30, "b")))
    assert seconds(findings) == [10, 15, 40]
    assert evaluated(findings.timeline) == {0: (0, 10), 1: (10, 15), 2: (15, 40)}
    drawn = figures_of(findings, None)
    assert {name: marks(drawn[name]) for name in ("hours", "spending", "timeline")} == {
        name: [10] for name in ("hours", "spending", "timeline")
    }
    assert drawn["hours"]["layout"]["xaxis"]["title"]["text"].startswith("seconds since the start, less the time")
    assert marks(drawn["best"]) == []  # an axis of trials


def test_what_a_run_waited_for_itself_stays() -> None:
    findings = findings_of(study_of(ran(0, 10, "a"), ran(HOUR, HOUR + 5, "a")))
    assert seconds(findings) == [10, HOUR + 5]
    assert findings.time.seams() == []
    assert figures_of(findings, None)["hours"]["layout"]["xaxis"]["title"]["text"] == "minutes since the start"


def test_what_another_run_did_meanwhile_is_no_time_between_runs() -> None:
    findings = findings_of(study_of(ran(0, 10, "a"), ran(5, 200, "b"), ran(150, 160, "c")))
    assert sorted(seconds(findings)) == [10, 160, 200]
    assert findings.time.seams() == []


def test_a_runs_first_wait_for_the_model_is_its_own() -> None:
    findings = findings_of(study_of(ran(0, 10, "a"), ran(HOUR, HOUR + 5, "b", latency=4.0)))
    assert evaluated(findings.timeline)[1] == (14, 19)
    assert [(part.began, part.ended) for part in findings.timeline.stretches if part.kind == "model"] == [(10, 14)]


def test_trials_of_no_run_belong_together_until_a_run_begins() -> None:
    findings = findings_of(
        study_of(ran(0, 10, None), ran(100, 110, None), ran(HOUR, HOUR + 10, "a"), ran(2 * HOUR, 2 * HOUR + 1, None))
    )
    assert seconds(findings) == [10, 110, 120, 121]


@pytest.mark.parametrize("known", [True, False])
def test_a_trial_of_a_run_that_died_ends_at_its_last_sign_of_life(known: bool) -> None:
    study = study_of(
        ran(0, 10, "a"), ran(10, 2 * HOUR, "a", failure=DIED), ran(2 * HOUR + 1, 2 * HOUR + 5, "b", latency=1.0)
    )
    if known:
        ended(study, "a", 25, "died")
    findings = findings_of(study)
    last = 25 if known else 10
    assert evaluated(findings.timeline) == {0: (0, 10), 1: (10, last), 2: (last + 1, last + 5)}


def test_an_end_that_no_clock_of_the_trials_can_have_seen_counts_for_nothing() -> None:
    study = study_of(ran(0, 10, "a"), ran(10, HOUR, "a", failure=DIED), ran(HOUR, HOUR + 5, "b"))
    ended(study, "a", 7 * HOUR, "died")
    assert evaluated(findings_of(study).timeline)[1] == (10, 10)


def test_a_study_without_trials_has_no_time() -> None:
    time = findings_of(study_of()).time
    assert (time.seconds(BEGAN), time.seams()) == (0, [])


def test_runs_are_numbered_from_one_in_the_order_of_the_table(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="the report's extra is not installed")
    study = study_of(ran(0, 9, None), ran(20, 25, "no-record"), ran(HOUR, HOUR + 9, "b"), ran(2 * HOUR, 3 * HOUR, "a"))
    ended(study, "b", HOUR + 9, "timeout")
    ended(study, "no-trials", 1.5 * HOUR, "budget")
    ended(study, "a", 3 * HOUR)
    table = write_report(study, tmp_path / "r.html").read_text(encoding="utf-8")
    rows = table.split("Runs and workers")[1].split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    assert [row.split("</td>")[0] for row in rows] == ["<td>1", "<td>2", "<td>3"]
    assert [word in row for word, row in zip(("timeout", "budget", "n_trials"), rows, strict=True)] == [True] * 3
    findings = findings_of(study)
    assert {part.trial: part.run for part in findings.timeline.stretches} == {0: None, 1: None, 2: 1, 3: 3}
    texts = {text for trace in figures_of(findings, None)["timeline"]["data"] for text in trace["text"] if text}
    assert texts == {"trial 0", "trial 1, worker 0", "trial 2, worker 0, run 1", "trial 3, worker 0, run 3"}
