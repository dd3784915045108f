"""A study's trials and runs as text and as JSON, once or for as long as somebody watches."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from optuna.study import Study

from ..engine.fleet.runs import runs_of
from ..engine.table import rows_of

_TRIAL: Final = ("number", "state", "value", "role", "cost", "rationale", "failure")
_RUN: Final = ("run", "stop_reason", "seconds", "n_complete", "n_pruned", "n_failed", "ended")
_WIDTH: Final = 60  # characters of a cell
_HEAD: Final = 1  # lines above a table's rows


def study_as_json(study: Study) -> str:
    """One JSON object: all columns of all `trials`, and the `runs` with how they ended; times in ISO 8601."""
    return json.dumps({"trials": rows_of(study), "runs": _runs(study)}, default=_iso)


def study_as_text(study: Study) -> str:
    """The columns that people look at, aligned, the best trial and the runs; no text in them moves the cursor."""
    runs = _runs(study)
    return "\n\n".join([_table(_TRIAL, rows_of(study)), *_best(study), *([_table(_RUN, runs)] if runs else [])])


def follow(draw: Callable[[], str], put: Callable[[str], object], wait: Callable[[], object]) -> None:
    """Put what is drawn, and again after a wait whenever it is something else, until one of the three raises."""
    before: str | None = None
    while True:
        now = draw()
        if now != before:
            put(now)
        before = now
        wait()


def fitted(text: str, lines: int) -> str:
    """The head of a text and as many of its last lines as fit."""
    all_lines = text.splitlines()
    if len(all_lines) <= lines:
        return text
    return "\n".join([*all_lines[:_HEAD], *all_lines[len(all_lines) - max(0, lines - _HEAD) :]])


def _runs(study: Study) -> list[dict[str, Any]]:
    return [asdict(run) for run in runs_of(study)]


def _best(study: Study) -> Iterator[str]:
    """The best trial with its parameters, if one is complete and violates no constraint."""
    with suppress(ValueError, RuntimeError):  # none, or several objectives
        best = study.best_trial
        params = ", ".join(f"{_printable(name)} = {_cell(value)}" for name, value in best.params.items())
        yield f"Best is trial {best.number} with value {_cell(best.value)}{': ' * bool(params)}{params}"


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    lines = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    text = _printable(text)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
