"""What the demo tunes is real, and what it prints fits a terminal; here a stand-in for its model answers at once."""

import importlib.util
import re
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks.quality.methods import drawing_client
from optuna_llm import Client, FunctionClient, LLMGuidedSampler, Request

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "demo.py"
N_TRIALS = 10


def loaded() -> ModuleType:
    """The script as a module, whatever the name of the clone's folder."""
    spec = importlib.util.spec_from_file_location("demo_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The demo, with fewer trials and a model that draws."""
    module = loaded()

    def sampler(model: str | Client, **options: Any) -> LLMGuidedSampler:
        return LLMGuidedSampler(drawing_client(0) if isinstance(model, str) else model, **options)

    monkeypatch.setattr(module, "LLMGuidedSampler", sampler)
    monkeypatch.setattr(module, "N_TRIALS", N_TRIALS)
    monkeypatch.setattr(module, "N_SEEDS", 2)
    return module


def fixed(**changes: Any) -> optuna.trial.FixedTrial:
    return optuna.trial.FixedTrial({"lr": 0.3, "momentum": 0.4, "init": 0.1, "width": 74, "batch": 13} | changes)


def test_a_network_with_sound_settings_reads_digits(demo: ModuleType) -> None:
    trial = fixed()
    value = demo.loss(trial)
    assert value == demo.loss(fixed())
    assert value < 0.3
    assert trial.user_attrs["accuracy"] > 0.9


def test_a_network_that_diverges_has_the_worst_loss(demo: ModuleType) -> None:
    assert demo.loss(fixed(lr=10.0, momentum=0.99)) == demo.WORST


def test_the_gradients_are_the_slopes_of_the_loss(demo: ModuleType) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((6, 5), (5,), (5, 10), (10,))]
    images, labels = rng.random((7, 6)), rng.integers(10, size=7)

    def log_loss() -> float:
        return -float(np.log(demo.predicted(weights, images)[np.arange(7), labels]).mean())

    for weight, gradient in zip(weights, demo.slopes(weights, images, labels), strict=True):
        place, step = (0,) * weight.ndim, 1e-5
        weight[place] += step
        above = log_loss()
        weight[place] -= 2 * step
        below = log_loss()
        weight[place] += step
        assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def run_main(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["demo.py", *arguments])
    demo.main()


def test_it_shows_the_trials_four_curves_and_a_report(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was opened"))
    run_main(demo, monkeypatch)
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if len(line) > 80 and not line.startswith("Report: ")] == []
    assert len(re.findall(r"^ +\d+  \d\.\d{3} [* ].* (?:freely|from a menu)$", shown, re.MULTILINE)) == N_TRIALS
    assert "drawn at random" not in shown  # the embedded model is not asked why
    names = {"M": "the model", "a": "a draw from the same menus", "t": "TPE", "r": "random"}
    assert all(f"{mark}  {name}" in shown for mark, name in names.items())
    rows = shown[shown.index(f"After {N_TRIALS} trials ") :].splitlines()[1:5]
    assert all(row.strip().startswith(name) for row, name in zip(rows, names.values(), strict=True))
    assert all(re.search(r" \d\.\d{3}  [012] of 2 studies$", line) for line in rows[1:])
    before, _, trials = shown.partition("trial  loss")
    assert "picks from menus that a Gaussian" in before
    assert "Runs differ." in before
    assert trials.count("from a menu") == N_TRIALS - 1  # the first ask has nothing to compute a menu from
    assert re.search(r"reads \d\d\.\d% of the images right", shown)
    page = tmp_path / "demo-report.html"
    assert f"Report: {page}" in shown
    assert "trials of the given baseline study" in page.read_text(encoding="utf-8")  # of the random search


def test_a_model_that_has_reasons_is_asked_for_them_and_a_browser_opened_on_request(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run_main(demo, monkeypatch, "some/model", "--open", "--report", str(tmp_path / "page.html"))
    shown = capsys.readouterr().out
    assert shown.count("drawn at random") == N_TRIALS
    assert "embedded model has" not in shown
    assert "a draw from the same menus" in shown
    assert opened == [(tmp_path / "page.html").as_uri()]


def test_the_die_takes_a_line_of_the_menu_that_the_model_would_see(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = loaded()
    monkeypatch.setattr(demo, "LLMGuidedSampler", lambda client, **options: (client, options))
    client, options = demo.from_menus_by_chance(3)
    _, same = demo.from_menus("local", 3)
    assert options == same
    assert isinstance(client, FunctionClient)
    menu = {"properties": {"candidate": {"enum": [1, 2, 3]}}}
    answer: Callable[[Request], Any] = client.fn
    answers = [answer(Request(messages=[], schema=menu)) for _ in range(40)]
    assert {found["candidate"] for found in answers} == {1, 2, 3}
    free = answer(Request(messages=[], schema={"properties": {"lr": {}, "width": {}}}))
    assert free.keys() == demo.SPACE.keys()
