"""The page as it is written: what stands in it before any script runs."""

import base64
import gzip
import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial
from report_support import HOSTILE, finished, large_study, llm_record, study_of

from optuna_llm import FunctionClient, LLMGuidedSampler, UsageError, optimize
from optuna_llm.engine.study.attributes import SPENDING_PREFIX
from optuna_llm.report import write_report
from optuna_llm.report.write import packed_library

pytest.importorskip("plotly", reason="the report's extra is not installed")
HEAVIEST = 6_000_000  # bytes; 8,000,000 are promised


class Elements(HTMLParser):
    """The elements of a page, by their tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@pytest.fixture
def study() -> optuna.Study:
    failure = {"type": "ValueError", "message": f"loss is nan {HOSTILE}"}
    return study_of(
        finished(0, 4, 10.0, llm=llm_record(rationale="A wide first guess.")),
        finished(0, 3, 9.0, llm=llm_record(rationale=f"Near {HOSTILE} & co"), params={HOSTILE: HOSTILE}),
        finished(4, 6, None, llm=llm_record(rationale="Bold."), failure=failure),
        finished(6, 9, 100.0, llm=llm_record(rationale="Wide again.")),
        name=f"study {HOSTILE}",
    )


def unpacked(page: str, name: str) -> str:
    """What the page's script unpacks."""
    found = re.search(rf'<script type="application/gzip" id="{name}">([^<]*)</script>', page)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1])).decode()


def data(page: str, name: str) -> Any:
    return json.loads(unpacked(page, name))


def numbers(page: str) -> list[int]:
    """The numbers of the trials that stand in the page's table, in its order."""
    return [int(number) for number in re.findall(r'<tr class="[A-Z]+(?: best)?"><td>([0-9]+)</td>', page)]


def written(study: optuna.Study, folder: Path, **options: Any) -> str:
    return write_report(study, folder / "report.html", **options).read_text(encoding="utf-8")


def test_the_page_brings_all_that_it_needs(study: optuna.Study, tmp_path: Path) -> None:
    page = written(study, tmp_path)
    assert not {"link", "iframe", "img"} & set(Elements(page).tags)
    assert re.findall(r"<script[^>]* src=", page) == []
    assert page.count("default-src 'none'") == 1
    assert "plotly.js v" in unpacked(page, "plotly")


def test_numbers_and_trials_are_readable_without_scripts(study: optuna.Study, tmp_path: Path) -> None:
    page = written(study, tmp_path)
    assert numbers(page) == [0, 1, 2, 3]
    for text in ("A wide first guess.", "ValueError: loss is nan", "some/model", "2.0000"):
        assert text in page


def test_calls_that_led_to_no_trial_are_told_from_those_that_did(study: optuna.Study, tmp_path: Path) -> None:
    def page() -> str:
        return write_report(study, tmp_path / "r.html").read_text(encoding="utf-8")

    assert "Every model call of the study was for one of these trials." in page()
    study.set_user_attr(f"{SPENDING_PREFIX}r", {"requests": 2, "tokens": 20, "usd": 0.1})
    assert "Model calls of the study: 6. Of these 2 led to no trial" in page()


def test_foreign_text_ends_no_element(study: optuna.Study, tmp_path: Path) -> None:
    study.add_trial(
        finished(9, 10, 1.0, params={HOSTILE: "plain"}, llm=llm_record(rationale="</script><b>", role="<b>"))
    )
    page = written(study, tmp_path)
    assert {"best", "slice0", "slice1"} <= set(data(page, "figures"))
    assert not {"b", "img"} & set(Elements(page).tags)


def test_the_first_thousand_trials_need_no_scripts_and_all_are_data(tmp_path: Path) -> None:
    page = written(large_study(1_100), tmp_path)
    assert numbers(page) == list(range(1_000))
    assert "The first 1000 of 1100 trials" in page
    assert [int(row[0]) for row in data(page, "cells")["rows"]] == list(range(1_100))


def test_a_choice_of_none_is_said(tmp_path: Path) -> None:
    space: dict[str, BaseDistribution] = {"size": CategoricalDistribution((None, 1))}
    study = study_of(create_trial(value=1.0, params={"size": None}, distributions=space), create_trial(value=2.0))
    rows = data(written(study, tmp_path), "cells")["rows"]
    assert [row[3] for row in rows] == ["None", ""]


def test_why_each_run_stopped_is_said(study: optuna.Study, tmp_path: Path) -> None:
    end = {"ended": 1e9, "stop_reason": "budget", "seconds": 300.0, "n_complete": 3, "n_pruned": 0, "n_failed": 1}
    study.set_user_attr("llm_run:one", end)
    study.set_user_attr("llm_run:two", {**end, "ended": 2e9, "stop_reason": HOSTILE})
    page = written(study, tmp_path)
    for text in ("budget: the budget does not pay", "3 complete, 1 failed", "5.0 min", "&lt;img src=x"):
        assert text in page.split("Runs and workers")[1].split("</table>")[0]


def test_a_run_leaves_what_the_page_shows_of_it(tmp_path: Path) -> None:
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    answers = iter((0.1, 0.3, 0.5, 0.7))
    client = FunctionClient(lambda _: {"params": {"x": next(answers)}, "rationale": "In between."})
    study = optuna.create_study(sampler=LLMGuidedSampler(client, search_space=space))
    optimize(study, lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=4, n_workers=2)
    page = written(study, tmp_path)
    assert "n_trials: all trials of this run were made" in page
    assert "Not every trial has on record" not in page
    assert ", worker 0" in unpacked(page, "figures")
    assert "In between." in page


def test_a_run_that_left_no_word_is_said_to_be_so(study: optuna.Study, tmp_path: Path) -> None:
    study.set_user_attr("llm_run:one", {"ended": True})
    assert "unknown: it left no word" in written(study, tmp_path)


def test_a_study_without_trials_has_a_page(tmp_path: Path) -> None:
    page = written(study_of(), tmp_path)
    assert "No trial has a value yet" in page
    assert data(page, "figures") == {}


def test_a_baseline_is_drawn_where_one_is_given(study: optuna.Study, tmp_path: Path) -> None:
    baseline = study_of(*(finished(i, i + 1, float(i)) for i in range(9)))
    pages = written(study, tmp_path, baseline=baseline), written(study, tmp_path)
    assert ["random search, median" in unpacked(page, "figures") for page in pages] == [True, False]


def test_a_missing_plotly_is_said(study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    packed_library.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"optuna-llm\[report\]"):
        write_report(study, tmp_path / "r.html")


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [4, 10])
def test_a_report_of_5000_trials_is_light(parameters: int, tmp_path: Path) -> None:
    path = write_report(large_study(5_000, parameters=parameters), tmp_path / "report.html")
    assert path.stat().st_size < HEAVIEST
