"""Studies for reports: made at once, with the times and records that a run leaves."""

import random
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

HOSTILE: Final = "<img src=x onerror=\"document.title='owned'\">"
BEGAN: Final = datetime.fromisoformat("2026-01-01")
SPACE: Final[dict[str, BaseDistribution]] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    HOSTILE: CategoricalDistribution((HOSTILE, "plain")),
}
WORDS: Final = (
    "best",
    "rows",
    "have",
    "a",
    "small",
    "rate",
    "so",
    "this",
    "one",
    "moves",
    "it",
    "alone",
    "near",
    "trial",
)


def llm_record(**changes: Any) -> dict[str, Any]:
    """The record of a proposal, as samplers write it."""
    usage = {"prompt_tokens": 90, "completion_tokens": 10, "cached_tokens": 0, "cost": 0.5}
    record = {"model": "some/model", "role": "refine", "form": "plain", "rationale": "Because.", "calls": 1}
    return {**record, "reasks": 0, "repairs": [], "usage": usage, "latency": 1.0, "staleness": 2, **changes}


def finished(began: float, ended: float, value: float | None, **attributes: Any) -> FrozenTrial:
    """A trial that ran in these seconds; without a value it failed."""
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    params = {"lr": 1e-3, HOSTILE: "plain", **attributes.pop("params", {})}
    space = attributes.pop("space", SPACE)
    trial = create_trial(state=state, value=value, params=params, distributions=space, user_attrs=attributes)
    trial.datetime_start, trial.datetime_complete = (BEGAN + timedelta(seconds=at) for at in (began, ended))
    return trial


def study_of(
    *trials: FrozenTrial, direction: Literal["minimize", "maximize"] = "minimize", name: str = "a study"
) -> optuna.Study:
    """A study of these trials."""
    study = optuna.create_study(study_name=name, direction=direction)
    study.add_trials(trials)
    return study


def large_study(n: int, *, parameters: int = 4) -> optuna.Study:
    """A study of many trials of one run with rationales of two lines, on eight workers."""
    rng = random.Random(0)
    names = [f"parameter {i}" for i in range(parameters - len(SPACE))]
    space = SPACE | {name: FloatDistribution(0.0, 1.0) for name in names}
    trials = [
        finished(
            i // 8 * 5 + rng.random(),
            i // 8 * 5 + 2 + 2 * rng.random(),
            rng.random() if i % 20 else None,
            llm=llm_record(rationale=f"Trial {i}: {' '.join(rng.choices(WORDS, k=40))}", run="a", worker=i % 8),
            params={"lr": 10 ** rng.uniform(-5, -1), **{name: rng.random() for name in names}},
            space=space,
        )
        for i in range(n)
    ]
    return study_of(*trials)
