"""A study as a table, one row a trial: what was tried, what came of it, and what its proposal took."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from .errors import UsageError
from .study.attributes import (
    FAILURE_ATTRIBUTE,
    as_amount,
    as_list,
    as_mapping,
    counts_of,
    llm_of,
    violations_of,
    worker_of,
)


def row_of(trial: FrozenTrial) -> dict[str, Any]:
    """One trial's row, in plain values; what is unknown is None, and of columns for parameters it has its own alone.

    `value` is None for a trial that has none, and a tuple where a trial has several. `seconds` is how long it was
    RUNNING, `latency` how long the model took; `cost` is in US dollars. `failure` is the type of what was raised, and
    its message. `worker` is which of its run's workers ran it, from 0.
    """
    llm = llm_of(trial)
    counts = counts_of(llm) if llm else {}
    values = trial.values or ()
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": tuple(values) if len(values) > 1 else next(iter(values), None),
        "infeasible": bool(violations_of(trial)),
        **{f"params_{name}": value for name, value in trial.params.items()},
        "model": llm.get("model"),
        "role": llm.get("role"),
        "form": llm.get("form"),
        "reason": llm.get("reason"),
        "rationale": llm.get("rationale"),
        "calls": counts.get("llm_calls"),
        "reasks": counts.get("reasks"),
        "repairs": len(as_list(llm.get("repairs"))) if llm else None,
        "duplicate_of": llm.get("duplicate_of"),
        "tokens": counts.get("tokens") if llm.get("usage") else None,
        "cached_tokens": counts.get("cached_tokens") if llm.get("usage") else None,
        "written_tokens": counts.get("written_tokens") if llm.get("usage") else None,
        "cost": counts.get("cost"),
        "latency": as_amount(llm.get("latency")),
        "staleness": as_amount(llm.get("staleness")),
        "worker": worker_of(trial),
        "failure": _failure(as_mapping(trial.user_attrs.get(FAILURE_ATTRIBUTE))),
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
    }


def rows_of(study: Study) -> list[dict[str, Any]]:
    """The rows of all trials of a study, in order of their numbers; every row has every column, in one order."""
    return aligned([row_of(trial) for trial in study.get_trials(deepcopy=False)])


def aligned(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each row all columns: a parameter that some trials do not have is None there."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("params_"))
    before = ("number", "state", "value", "infeasible")
    return [
        {
            **{name: row[name] for name in before},
            **{name: row.get(name) for name in names},
            **{name: value for name, value in row.items() if name not in before and name not in names},
        }
        for row in rows
    ]


def to_dataframe(study: Study) -> Any:
    """Make a `pandas.DataFrame` of a study, one row a trial: what was tried, what came of it, how it was proposed.

    Columns begin as those of Optuna's own `trials_dataframe` (parameters are `params_NAME`). Then follow the model and
    its role, why it proposed this, calls, tokens, US dollars, seconds of latency, how many trials finished while it was
    asked (`staleness`), which worker ran it, and why it failed. Raises `UsageError` where pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise UsageError("a data frame needs pandas: pip install pandas") from error
    return pandas.DataFrame(rows_of(study))


def _failure(record: Mapping[str, Any]) -> str | None:
    kind, message = record.get("type"), record.get("message")
    said = [part for part in (kind, message) if isinstance(part, str) and part]
    return ": ".join(said) or None
