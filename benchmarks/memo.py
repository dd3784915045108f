"""Evaluations that were paid for once are kept on disk: JSON lines, one file a task."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tasks import Evaluation, Params

VARIABLE: Final = "OPTUNA_LLM_BENCHMARK_CACHE"
DEFAULT: Final = Path(__file__).resolve().parent / "results" / "evaluations"


def folder() -> Path:
    """Where evaluations are kept: $OPTUNA_LLM_BENCHMARK_CACHE, else `results/evaluations` beside this file."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


class Memo:
    """Passes on to `evaluate` what it does not know yet. Several processes may share a file: lines are only added."""

    def __init__(self, evaluate: Callable[[Params], Evaluation], path: Path) -> None:
        self._evaluate = evaluate
        self._path = path
        self._known: dict[str, Evaluation] | None = None
        self._lock = threading.Lock()

    def __call__(self, params: Params) -> Evaluation:
        key = json.dumps(dict(params), sort_keys=True)
        with self._lock:
            if self._known is None:
                self._known = read(self._path)
            if key not in self._known:
                self._known[key] = self._evaluate(params)
                self._add(key, self._known[key])
            return self._known[key]

    def _add(self, key: str, evaluation: Evaluation) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"params": key, **asdict(evaluation)}) + "\n"
        with self._path.open("a", encoding="ascii") as file:
            file.write(line)


def read(path: Path) -> dict[str, Evaluation]:
    """What a file knows; a line that was cut off is left out."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="ascii").splitlines():
        record = _record(line)
        if record:
            found[record["params"]] = Evaluation(value=record["value"], seconds=record["seconds"])
    return found


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.keys() >= {"params", "value", "seconds"} else None
