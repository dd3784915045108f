"""The report of a recorded run, with its own times, and random search beside it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import optuna
from optuna.trial import FrozenTrial, create_trial

from optuna_llm.report import write_report

from .recorded_run import RecordedRun
from .replay import Replayed
from .score import BEGAN, ENDED

N_RANDOM: Final = 10  # TPE's first trials, which it draws at random
TITLE: Final = "A small language model on a budget of arithmetic (recorded)"


def write_page(path: Path, replayed: Replayed, run: RecordedRun, tpe: Sequence[Sequence[float]]) -> Path:
    """Write the page. The random search is made of the trials that TPE drew at random."""
    values = [value for seed in tpe for value in seed[:N_RANDOM]]
    return write_report(as_recorded(replayed, run), path, baseline=_random_search(values))


def as_recorded(replayed: Replayed, run: RecordedRun) -> optuna.Study:
    """The replayed study, its trials begun and ended when they were, and chosen from a menu where they were."""
    at = {(event.kind, event.number): timedelta(seconds=event.seconds) for event in run.events}
    start = datetime.fromisoformat(run.date)
    copy = optuna.create_study(study_name=TITLE)
    for trial in replayed.study.trials:
        trial.datetime_start = start + at[BEGAN, trial.number]
        trial.datetime_complete = start + at[ENDED, trial.number]
        if trial.number in replayed.menus:
            trial.user_attrs["llm"] |= {"form": "menu"}
        copy.add_trial(trial)
    return copy


def _random_search(values: Sequence[float]) -> optuna.Study:
    study = optuna.create_study()
    study.add_trials([_trial(value) for value in values])
    return study


def _trial(value: float) -> FrozenTrial:
    return create_trial(value=value)
