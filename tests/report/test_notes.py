"""Notes for optuna-dashboard, read as it reads them."""

import html
import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from report_support import HOSTILE, finished, llm_record, study_of

from optuna_llm.report import annotate

REASKED = 2


def note(study: optuna.Study, prefix: str = "dashboard:") -> str:
    """The note of a study, or of the trial of this prefix: its pieces in order."""
    attributes = attributes_of(study)
    pieces = {name: value for name, value in attributes.items() if re.fullmatch(f"{prefix}note_str:[0-9]+", name)}
    return "".join(pieces[f"{prefix}note_str:{place}"] for place in range(len(pieces)))


def attributes_of(study: optuna.Study) -> Mapping[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def plotted(study: optuna.Study) -> list[str]:
    """The pieces of the timeline."""
    attributes = attributes_of(study)
    count = sum(name.startswith("dashboard:plot_data:") for name in attributes)
    return [attributes[f"dashboard:plot_data:workers:{place}"] for place in range(count)]


def trial_note(study: optuna.Study, number: int) -> str:
    return note(study, f"dashboard:{study.trials[number]._trial_id}:")


@pytest.fixture
def study() -> optuna.Study:
    failure = {"type": "ValueError", "message": f"loss is nan {HOSTILE}"}
    return study_of(
        finished(0, 1, 2.0, llm=llm_record()),
        finished(1, 2, None, llm=llm_record(rationale=f"**bold** [x](javascript:y) {HOSTILE}"), failure=failure),
        finished(2, 3, 3.0, llm=llm_record(reasks=1, calls=2)),
        finished(3, 4, 1.0, llm=llm_record(rationale="Smaller")),
    )


def test_the_best_the_failed_and_the_reasked_have_a_note(study: optuna.Study) -> None:
    assert annotate(study) == 3
    assert [bool(trial_note(study, number)) for number in range(4)] == [False, True, True, True]
    assert "the best trial so far" in trial_note(study, 3)
    assert "1 of them re-asks" in trial_note(study, REASKED)
    assert "ValueError" in trial_note(study, 1)


def test_the_study_note_says_model_and_spending(study: optuna.Study) -> None:
    annotate(study)
    for text in ("some&#47;model", "$2.0000", "400 tokens", "1, trial 3"):
        assert text in note(study)


def test_the_study_note_says_why_the_last_run_stopped(study: optuna.Study) -> None:
    study.set_user_attr("llm_run:one", {"ended": 1e9, "stop_reason": "timeout"})
    study.set_user_attr("llm_run:two", {"ended": 2e9, "stop_reason": "budget"})
    annotate(study)
    assert "**Stopped**: budget&#58; the budget does not pay for another request" in note(study)


def test_foreign_text_is_neither_html_nor_markdown(study: optuna.Study) -> None:
    annotate(study)
    (why,) = re.findall(r"\*\*Why\*\*: (.*)", trial_note(study, 1))
    assert html.unescape(why) == f"**bold** [x](javascript:y) {HOSTILE}"
    assert not set("<>*[]()`") & set(why)
    assert "<img" not in trial_note(study, 1)


def test_what_is_there_is_not_written_again(study: optuna.Study) -> None:
    annotate(study)
    before = dict(attributes_of(study))
    annotate(study)
    assert attributes_of(study) == before


def test_a_trial_that_is_no_longer_the_best_is_not_called_so(study: optuna.Study) -> None:
    annotate(study)
    study.add_trial(finished(4, 5, 0.5))
    annotate(study)
    assert "the best trial" in trial_note(study, 4)
    assert "the best trial" not in trial_note(study, 3)


def test_the_timeline_is_a_figure_of_the_dashboard(study: optuna.Study) -> None:
    annotate(study)
    figure = json.loads("".join(plotted(study)))
    assert figure["layout"]["xaxis"]["title"]["text"] == "seconds since the start"
    assert {trace["name"] for trace in figure["data"]} >= {"evaluating", "evaluating, failed"}


def test_a_shorter_text_leaves_nothing_of_a_longer_one(study: optuna.Study) -> None:
    long = study_of(*(finished(i, i + 1, 1.0) for i in range(200)))
    annotate(long)
    assert len(plotted(long)) > 1
    for name in list(attributes_of(long)):
        if name.startswith("dashboard:plot_data:"):
            study._storage.set_study_system_attr(study._study_id, name, attributes_of(long)[name])
    annotate(study)
    assert json.loads("".join(plotted(study)))


def test_the_dashboard_reads_notes_and_timeline(study: optuna.Study) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")
    plots = importlib.import_module("optuna_dashboard._custom_plot_data")
    annotate(study)
    assert dashboard.get_note(study) == note(study)
    figures = plots.get_plotly_graph_objects(dict(attributes_of(study)))
    assert figures == {"workers": "".join(plotted(study))}


def test_notes_of_people_stay(study: optuna.Study) -> None:
    study._storage.set_study_system_attr(study._study_id, "dashboard:note_str:0", "mine")
    annotate(study)
    assert note(study) == "mine"
