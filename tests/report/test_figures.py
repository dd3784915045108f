"""The figures as Plotly is given them."""

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial
from report_support import finished, large_study, llm_record, study_of

from optuna_llm.report.baseline import BaselinePoint
from optuna_llm.report.figures import DRAWN_TRIALS, Figure, figures_of
from optuna_llm.report.findings import findings_of


def figures(*trials: Any, baseline: list[BaselinePoint] | None = None) -> dict[str, Figure]:
    return figures_of(findings_of(study_of(*trials)), baseline)


def named(figure: Figure, name: str) -> Figure:
    (found,) = (trace for trace in figure["data"] if trace.get("name") == name)
    trace: Figure = found
    return trace


def slice_of(distribution: BaseDistribution, *values: Any) -> Figure:
    """The slice of one parameter that took these values."""
    trials = [
        create_trial(value=1.0 + i, params={"p": v}, distributions={"p": distribution}) for i, v in enumerate(values)
    ]
    return figures(*trials)["slice0"]


def test_a_study_without_results_has_no_empty_figures() -> None:
    assert figures() == {}
    assert set(figures(finished(0, 1, None))) == {"timeline"}


def test_a_random_search_over_time_has_as_many_trials_as_had_ended() -> None:
    trials = [finished(i, 10.0 * (i + 1), 5.0) for i in range(3)]
    points = [BaselinePoint(trials=k, low=3.0, median=2.0, high=1.0) for k in (1, 2, 3, 4)]
    drawn = figures(*trials, baseline=points)
    assert named(drawn["best"], "random search, median")["x"] == [1, 2, 3]
    assert named(drawn["hours"], "random search, median")["x"] == [10, 20, 30]


def test_the_spread_of_results_takes_twenty_of_them() -> None:
    trials = [finished(i, i + 1, float(i % 4)) for i in range(21)]
    name = "middle half of the last 20 results"
    spread = named(figures(*trials)["best"], name)
    assert (spread["x"], spread["y"]) == ([20, 21], [2.25, 2.25])
    assert all(trace.get("name") != name for trace in figures(*trials[:19])["best"]["data"])


def test_the_spread_of_many_results_takes_a_share_of_them() -> None:
    assert named(figures_of(findings_of(large_study(2_000)), None)["best"], "middle half of the last 38 results")


def test_one_disaster_does_not_flatten_the_axis() -> None:
    low, high = figures(*(finished(i, i + 1, 1e9 if i == 3 else float(i)) for i in range(10)))["best"]["layout"][
        "yaxis"
    ]["range"]
    assert low < 0 < 9 < high < 20


def test_numbers_over_decades_have_a_logarithmic_axis() -> None:
    far = slice_of(FloatDistribution(1e-5, 1.0), 1e-5, 1.0)
    near = slice_of(FloatDistribution(0.0, 1.0), 0.5, 1.0)
    assert [figure["layout"]["xaxis"]["type"] for figure in (far, near)] == ["log", "linear"]


def test_a_number_that_never_changes_is_in_the_middle() -> None:
    assert slice_of(FloatDistribution(0.0, 1.0), 0.001, 0.001)["layout"]["xaxis"]["range"] == [0.0005, 0.0015]


def test_few_short_choices_stand_beside_each_other() -> None:
    figure = slice_of(CategoricalDistribution(("a", None, True)), "a", None, True)
    assert figure["layout"]["xaxis"]["ticktext"] == ["None", "True", "a"]
    assert figure["data"][0]["y"] == [1.0, 2.0, 3.0]


def test_long_choices_stand_below_each_other_by_what_they_differ_in() -> None:
    choices = [f"a_long_name_of_a_choice_{place}_and_its_end" for place in ("one", "two", "three")]
    figure = slice_of(CategoricalDistribution(choices), *choices)
    assert figure["layout"]["yaxis"]["ticktext"] == ["…one…", "…three…", "…two…"]
    assert figure["data"][0]["customdata"] == choices
    assert figure["data"][0]["x"] == [1.0, 2.0, 3.0]


def test_rare_choices_share_one_row() -> None:
    choices = [f"choice {place:02d}" for place in range(40)]
    axis = slice_of(CategoricalDistribution(choices), *choices, *choices[:30])["layout"]["yaxis"]
    assert len(axis["ticktext"]) == 31
    assert axis["ticktext"][-1] == "10 others"


def test_choices_that_are_equal_when_shortened_stay_apart() -> None:
    choices = ["x" * 100 + "1", "x" * 100 + "2", "y"]
    assert len(slice_of(CategoricalDistribution(choices), *choices)["layout"]["yaxis"]["ticktext"]) == 3


def test_what_was_wrong_is_counted_up_to_each_trial() -> None:
    records = [llm_record(reasks=1), llm_record(), llm_record(reasks=2, form="menu")]
    figure = figures(*(finished(i, i + 1, 1.0, llm=record) for i, record in enumerate(records)))["proposals"]
    assert named(figure, "re-asks")["y"] == [1, 1, 3]
    assert named(figure, "menus")["y"] == [0, 0, 1]
    assert len(figure["data"]) == 2


def test_of_many_trials_the_last_are_drawn_one_by_one_and_all_as_a_workload() -> None:
    findings = findings_of(large_study(DRAWN_TRIALS + 200))
    drawn = figures_of(findings, None)
    evaluated = [text for trace in drawn["timeline"]["data"] if "evaluating" in trace["name"] for text in trace["text"]]
    assert len(evaluated) == 3 * DRAWN_TRIALS
    spans = drawn["workload"]["data"][0]["x"]
    length = (spans[1] - spans[0]) * 60  # the axis is in minutes
    seconds = sum(drawn["workload"]["data"][0]["y"]) * length
    assert abs(seconds / findings.timeline.evaluating_seconds - 1) < 0.01
