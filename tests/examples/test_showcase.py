"""A run that is recorded is replayed as it was, with several workers, and what is shown of it is true."""

import asyncio
import json
import math
import random
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from optuna_llm import FunctionClient, Request
from showcase import __main__ as showcase
from showcase import training
from showcase.chart import Curve, chart, share_beaten
from showcase.page import as_recorded
from showcase.picture import APART, BOTTOM, TOP, Plot, draw
from showcase.record import record
from showcase.recorded_run import RECORDED, RIVALS, RUN, WITH_EXAMPLE, rationales, read_run, write_run
from showcase.replay import replay
from showcase.rivals import read_rivals, values_of_tpe, write_rivals
from showcase.score import BEGAN, ENDED, REPLY, REQUEST, Conductor, Event, Recorder
from showcase.task import EXAMPLE, N_WORKERS, SPACE, TASK, suggested

ROOT = Path(__file__).resolve().parents[2]
N_TRIALS = 8
REASON = "a guess, said in so many words that it takes more than one of the lines that a terminal has"


def model(seed: int) -> FunctionClient:
    """Draws each value; as slow as all are who think, it answers nobody before all workers have asked."""
    dice, asked, all_asked = random.Random(seed), iter(range(1, 1000)), asyncio.Event()

    async def answer(request: Request) -> dict[str, Any]:
        if next(asked) == N_WORKERS:
            all_asked.set()
        await all_asked.wait()
        return {
            "rationale": f"{REASON}, {dice.random()}",
            "optimizer": dice.choice(["adam", "momentum"]),
            "learning_rate": 10 ** dice.uniform(-4, 0),
            "final_share": dice.uniform(0.01, 1.0),
            "batch_size": dice.randint(16, 1024),
            "context": dice.randint(1, 24),
            "embedding": dice.randint(4, 64),
            "width": dice.randint(16, 1024),
            "dropout": dice.uniform(0.0, 0.5),
        }

    return FunctionClient(answer)


def stand_in(parameters: dict[str, Any]) -> float:
    return round(2.0 + float(parameters["dropout"]) + float(parameters["context"]) / 24, 4)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    record(folder, model(0), "a stand-in", stand_in, N_TRIALS, how="By hand: as a test asks.")
    return folder


def test_a_replay_has_the_trials_and_the_prompts_of_the_recording(recording: Path) -> None:
    replayed = replay(recording, speed=math.inf)
    run = read_run(recording)
    trials = replayed.study.trials
    assert [(trial.value, trial.params) for trial in trials] == [(e.value, e.params) for e in run.evaluations]
    assert len(trials) == N_TRIALS
    assert replayed.n_same == replayed.n_free == N_TRIALS - len(replayed.menus)
    ended = sorted(trials, key=lambda trial: trial.datetime_complete or 0)
    assert [trial.number for trial in ended] == [event.number for event in run.events if event.kind == ENDED]


def test_the_stored_run_is_replayed_and_compared_with_tpe_on_the_same_task() -> None:
    replayed, run = replay(RECORDED, speed=math.inf), read_run(RECORDED)
    assert len(replayed.study.trials) == 20
    assert replayed.study.best_value == min(evaluation.value for evaluation in run.evaluations)
    for name in (RIVALS, WITH_EXAMPLE):
        tpe = json.loads((RECORDED / name).read_text(encoding="utf-8"))
        assert tpe["made_with"] == run.made_with
        assert [len(values) for values in tpe["seeds"].values()] == [20] * 20
    assert tpe["first"] == EXAMPLE
    assert len({values[0] for values in tpe["seeds"].values()}) == 1


@pytest.mark.slow
def test_the_best_stored_trial_is_trained_to_its_stored_value_again() -> None:
    run, text = read_run(RECORDED), training.python_reference()
    if text.digest != run.made_with["text"]:
        pytest.skip("another version of Python has another reference")
    best = min(run.evaluations, key=lambda evaluation: evaluation.value)
    assert training.bits_per_character(best.params, text) == pytest.approx(best.value, abs=0.02)


def test_the_stored_picture_is_that_of_the_stored_run() -> None:
    stored = ROOT / "docs" / "images" / "showcase.svg"
    assert stored.read_text(encoding="utf-8") == draw()


def test_a_replay_that_goes_another_way_is_refused(recording: Path, tmp_path: Path) -> None:
    run = read_run(recording)
    other = [replace(run.evaluations[0], params={**run.evaluations[0].params, "context": 99}), *run.evaluations[1:]]
    (tmp_path / "exchanges.jsonl").write_bytes((recording / "exchanges.jsonl").read_bytes())
    write_run(tmp_path, replace(run, evaluations=other))
    with pytest.raises(LookupError, match="trial 0 has other parameters"):
        replay(tmp_path, speed=math.inf)


def test_prompts_that_are_worded_anew_are_replayed_and_counted(recording: Path, tmp_path: Path) -> None:
    text = (recording / "exchanges.jsonl").read_text(encoding="utf-8")
    assert text.count("# Task") == N_TRIALS
    (tmp_path / "exchanges.jsonl").write_text(text.replace("# Task", "# What is tuned", 1), encoding="utf-8")
    (tmp_path / RUN).write_bytes((recording / RUN).read_bytes())
    replayed = replay(tmp_path, speed=math.inf)
    assert replayed.n_same == replayed.n_free - 1  # the first is free


def test_a_run_on_file_is_read_as_it_was_written(recording: Path, tmp_path: Path) -> None:
    run = read_run(recording)
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
    assert (tmp_path / RUN).read_text(encoding="utf-8").count("\n") > len(run.events)  # a line for each thing


def test_a_conductor_holds_what_comes_before_its_turn() -> None:
    events = [Event(kind=ENDED, number=number, seconds=float(number)) for number in (2, 0, 1)]
    conductor = Conductor(events, speed=math.inf)
    last = threading.Thread(target=conductor, args=(ENDED, 1))
    last.start()
    conductor(ENDED, 2)
    assert last.is_alive()
    conductor(ENDED, 0)
    last.join(60)
    assert not last.is_alive()


def test_a_conductor_says_what_did_not_come() -> None:
    events = [Event(kind=REQUEST, number=1, seconds=0.0), Event(kind=REPLY, number=1, seconds=1.0)]
    with pytest.raises(LookupError, match="request 1 did not come"):
        Conductor(events, speed=math.inf, patience=0.01)(REPLY, 1)
    with pytest.raises(LookupError, match="ended 7 is not in the recording"):
        Conductor(events, speed=math.inf)(ENDED, 7)


def test_a_recorder_lets_a_reply_pass_when_the_one_before_had_its_consequence() -> None:
    recorder = Recorder(n_followed=9, patience=60.0)
    recorder(REPLY, 1)
    second = threading.Thread(target=recorder, args=(REPLY, 2))
    second.start()
    recorder(BEGAN, 0)
    second.join(60)
    assert [(event.kind, event.number) for event in recorder.events] == [(REPLY, 1), (BEGAN, 0), (REPLY, 2)]
    assert all(one.seconds <= other.seconds for one, other in pairwise(recorder.events))


def test_nobody_waits_for_what_does_not_follow() -> None:
    recorder = Recorder(n_followed=0, patience=60.0)
    recorder(ENDED, 1)
    recorder(ENDED, 2)
    recorder(REPLY, 3)
    assert [event.number for event in recorder.events] == [1, 2, 3]
    assert recorder.events[-1].seconds < 60.0


def test_a_reply_that_has_no_consequence_holds_the_next_for_a_while_only() -> None:
    recorder = Recorder(n_followed=0, patience=0.05)
    recorder(REPLY, 1)
    recorder(REPLY, 2)
    first, second = (event.seconds for event in recorder.events)
    assert second - first >= 0.049


def test_the_report_has_the_times_of_the_recording(recording: Path) -> None:
    run = read_run(recording)
    at = {(event.kind, event.number): event.seconds for event in run.events}
    for trial in as_recorded(replay(recording, speed=math.inf), run).trials:
        assert trial.duration is not None
        took = at[ENDED, trial.number] - at[BEGAN, trial.number]
        assert trial.duration.total_seconds() == pytest.approx(took, abs=1e-3)


def make_up_rivals(folder: Path) -> None:
    write_rivals(folder / RIVALS, {seed: [4.0 - seed / 10] * N_TRIALS for seed in range(4)})
    write_rivals(
        folder / WITH_EXAMPLE, {seed: [3.5] + [3.5 - seed / 10] * (N_TRIALS - 1) for seed in range(4)}, EXAMPLE
    )


@pytest.fixture
def shown(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Iterable[str]:
    """What is printed, with TPE's values made up."""
    make_up_rivals(tmp_path)
    monkeypatch.setattr(showcase, "RECORDED", tmp_path)
    showcase.main(["--recording", str(recording), "--speed", "inf", "--report", str(tmp_path / "page.html")])
    return str(capsys.readouterr().out)


def test_the_showcase_says_of_each_trial_why_and_fits_a_terminal(shown: str, recording: Path, tmp_path: Path) -> None:
    lines = shown.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("Report: ")] == []
    assert len(re.findall(r"^ +\d+ +\d\.\d{3} (?:best)? +(?:\(menu\) )?a guess, said", shown, re.MULTILINE)) == N_TRIALS
    assert "better than 4 of 4" in " ".join(shown.split())
    assert "as its first trial (3.500): median 3.350, best 3.200" in " ".join(shown.split())
    assert "  e  the same" in shown
    assert "By hand: as a test asks." in " ".join(shown.split())
    assert "Every prompt was to the letter" in shown
    assert f"Report: {tmp_path / 'page.html'}" in shown
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert REASON in page
    assert "a stand-in" in page


def test_the_picture_shows_all_curves_and_why_the_best_was_tried(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up_rivals(tmp_path)
    monkeypatch.setattr("showcase.picture.RECORDED", tmp_path)
    root = ET.fromstring(draw(recording))
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "TPE: median, middle half and (dashed) luckiest of 4 seeds" in texts
    assert "TPE, given the task's example as its first trial: median of 4" in texts
    assert "a guess, said" in " ".join(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 6  # band, median, luckiest, given, best, axes


def test_labels_of_values_are_round_and_apart() -> None:
    plot = Plot(n=20, low=2.1, high=5.2)
    ticks = plot.ticks()
    assert [round(tick, 6) for tick in ticks[:3]] == [2.2, 2.6, 3.0]
    assert all(plot.y(one) - plot.y(other) >= APART for one, other in pairwise(ticks))
    assert plot.y(5.2) == TOP
    assert plot.y(2.1) == BOTTOM


def test_rationales_are_those_of_the_trials(recording: Path) -> None:
    text = (recording / "exchanges.jsonl").read_text(encoding="utf-8")
    study = replay(recording, speed=math.inf).study
    assert text.count(REASON) == N_TRIALS
    assert rationales(recording) == [trial.user_attrs["llm"]["rationale"] for trial in study.trials]
    assert len(set(rationales(recording))) == N_TRIALS


def test_rivals_on_file_are_read_as_they_were(tmp_path: Path) -> None:
    write_rivals(tmp_path / "tpe.json", {3: [1.5, 1.25], 1: [2.5, 2.0]})
    assert read_rivals(tmp_path / "tpe.json") == {1: [2.5, 2.0], 3: [1.5, 1.25]}


def test_a_rival_begins_with_what_it_is_given() -> None:
    tried: list[dict[str, Any]] = []

    def train(parameters: dict[str, Any]) -> float:
        tried.append(parameters)
        return stand_in(parameters)

    given = values_of_tpe(train, 0, 3, EXAMPLE)
    assert tried[0] == EXAMPLE
    assert given == [stand_in(parameters) for parameters in tried]
    values_of_tpe(train, 0, 2)
    assert tried[3] == tried[1] != EXAMPLE  # the same seed draws the same


def test_a_chart_draws_the_first_curve_over_the_others() -> None:
    curves = [Curve(mark="M", name="one", values=[9, 2, 1, 1]), Curve(mark="t", name="two", values=[9, 3, 3, 3])]
    assert chart(curves, "value", height=3, width=20).splitlines() == [
        "         value (what is higher is drawn at the top)",
        "       3 |MMMMMttttttttttttttt",
        "       2 |     MMMMM",
        "       1 |          MMMMMMMMMM",
        "         +--------------------",
        "          1     trials       4",
        "          M  one",
        "          t  two",
    ]


def test_a_tie_is_not_a_win() -> None:
    assert share_beaten(2.0, [1.0, 2.0, 3.0]) == "1 of 3"


def settings(**changes: Any) -> dict[str, Any]:
    usual = {"optimizer": "adam", "learning_rate": 0.01, "final_share": 0.1, "batch_size": 16}
    return usual | {"context": 3, "embedding": 4, "width": 16, "dropout": 0.0} | changes


def test_a_network_s_gradients_are_the_slopes_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    network = training.Network(training.Settings(**settings()), 7, rng)
    contexts, targets = rng.integers(7, size=(9, 3)), rng.integers(7, size=9)
    for weight, gradient in zip(network.weights, network.gradients(contexts, targets, rng), strict=True):
        place, step = (0,) * weight.ndim, np.float32(1e-2)
        start = weight[place]
        losses = []
        for value in (start - step, start + step):
            weight[place] = value
            losses.append(network.loss(contexts, targets) * np.log(2))
        weight[place] = start
        slope = (losses[1] - losses[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, abs=2e-3)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_training_learns_and_gives_the_same_value_again(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"adam": 0.01, "momentum": 0.3}
    monkeypatch.setattr(training, "BUDGET", 3e8)
    text = training.python_reference()
    parameters = settings(optimizer=optimizer, learning_rate=rates[optimizer])
    value = training.bits_per_character(parameters, text)
    assert value == training.bits_per_character(parameters, text)
    assert value < 5.0  # a guess among all characters takes log2(103) = 6.7


def test_a_training_that_diverges_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BUDGET", 3e8)
    parameters = settings(optimizer="adam", learning_rate=1e6)
    assert training.bits_per_character(parameters, training.python_reference()) == training.DIVERGED


def test_the_task_says_what_the_training_does() -> None:
    assert f"{training.BUDGET:.1e}".replace("e+", "e") in TASK
    assert f"{training.OVERHEAD:.0e}".replace("e+0", "e") in TASK
    named = {name: EXAMPLE[name] for name in ("batch_size", "context", "embedding", "width")}
    assert "batch_size {batch_size}, context {context}, embedding {embedding} and width {width}".format(**named) in TASK
    example = training.Settings(**EXAMPLE)
    assert example.n_steps(103) == pytest.approx(1_240, abs=5)


def test_the_objective_asks_for_what_is_declared() -> None:
    study = optuna.create_study()
    trial = study.ask()
    suggested(trial)
    assert study.trials[0].distributions == SPACE
    assert json.dumps(trial.params)
