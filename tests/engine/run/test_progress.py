"""The progress bar says where a run stands, on terminals and nowhere else."""

import io
from typing import Any

import anyio
import optuna
import pytest
from support import SPACE, sampler

from optuna_llm import optimize_async
from optuna_llm.engine.run.progress import ProgressBar, RunProgress

STATE: dict[str, Any] = {
    "finished": 12,
    "running": 8,
    "proposing": 3,
    "best": 0.91234567,
    "calls": 31,
    "tokens": 12345,
    "cost": 0.0213,
    "seconds": 60.0,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_tells_best_running_waiting_rate_tokens_and_cost() -> None:
    line = str(RunProgress(**STATE))
    assert line == "best 0.912346, 8 running, 3 waiting for the LLM, 31 calls/min, 12345 tokens, $0.0213"


def test_what_is_unknown_is_left_out() -> None:
    line = str(RunProgress(**{**STATE, "best": None, "cost": None, "seconds": 0.0}))
    assert line == "best -, 8 running, 3 waiting for the LLM, 0 calls/min, 12345 tokens"


def test_a_terminal_shows_finished_of_total() -> None:
    terminal = Terminal()
    with ProgressBar(100, file=terminal) as bar:
        bar.show(RunProgress(**STATE))
    assert "12/100" in terminal.getvalue()


def test_no_terminal_shows_nothing() -> None:
    pipe = io.StringIO()
    with ProgressBar(100, file=pipe) as bar:
        bar.show(RunProgress(**STATE))
    assert pipe.getvalue() == ""


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
