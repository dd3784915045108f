"""What a run says of itself: of each trial as Optuna would, of failures with their reason, and how it ended."""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from optuna.trial import FrozenTrial, TrialState

from ..errors import BudgetExhaustedError
from ..foreign_text import said
from ..logs import counted, get_logger
from ..names import UnaskedNames
from ..outcome import INTERRUPTED, SURPLUS
from ..study.attributes import FAILURE_ATTRIBUTE, as_mapping, failure_type, violations_of
from .report import RunReport
from .schedule import MIN_TRIALS_FOR_RATE, RunPlan

logger = get_logger("optuna_llm.engine")

# So many failures and nothing else look like a mistake in the code, and not like a bad configuration.
LOUD_AFTER: Final = 3
# Ends that were asked for; all others cut a run short.
GOOD_ENDS: Final = ("n_trials", "total_trials", "timeout", "stop", "exhausted")
SHOWN_NUMBERS: Final = 10


class RunLog:
    """Says what happens in one run of this plan, whose search space declares these names.

    `metric` is the name of the study's value, if it has one.
    """

    def __init__(self, plan: RunPlan, declared: Iterable[str] = ()) -> None:
        self._plan = plan
        self.metric: str | None = None
        self._names = UnaskedNames(declared)
        self._leftover: set[int] = set()
        self._said_budget = False
        self._last_failed: FrozenTrial | None = None
        self._best: FrozenTrial | None = None
        self._failed_first: int | None = 0  # failures so far, None once they are not all that came

    def trial(self, trial: FrozenTrial, best: FrozenTrial | None, note: str = "") -> None:
        """One line for a trial that was told, and a loud one where nothing but failures has come so far."""
        level = logging.WARNING if trial.state is TrialState.FAIL else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s", trial_line(trial, best, metric=self.metric, note=note))
        self._best = best or self._best
        if trial.state is not TrialState.FAIL:
            self._failed_first = None
        elif self._failed_first is not None and failure_type(trial) not in (INTERRUPTED, SURPLUS):
            self._last_failed = trial
            self._failed_first += 1
            if self._failed_first == LOUD_AFTER:
                logger.error("%s", nothing_but_failures(LOUD_AFTER, trial, self._plan))

    def asked(self, names: Collection[str], *, complete: bool, over: bool = False) -> None:
        """One line, once, for declared names that no trial asks for."""
        self._names.saw(names, complete=complete)
        if (news := self._names.news(over=over)) is not None:
            logger.warning("%s", news)

    def leftover(self, trials: Sequence[FrozenTrial], total: int | None) -> None:
        """One line for RUNNING trials that may hold places for ever, unless that was said of all of them."""
        new = {trial.number for trial in trials} - self._leftover
        if new and total is not None:
            self._leftover |= new
            logger.warning("%s", holding_places(trials, total))

    def budget(self, error: BudgetExhaustedError) -> None:
        """One line, once, for a budget that does not pay for another request."""
        if not self._said_budget:
            self._said_budget = True
            logger.warning("Nothing more is asked for: %s", said(str(error)))

    def end(self, report: RunReport) -> None:
        """The run's last lines: a warning where something failed or was cut short."""
        self.asked((), complete=False, over=True)
        if report.stop_reason == "all_failed" and self._last_failed is not None:
            logger.error("%s", all_failed(report.n_failed, self._last_failed))
        well = not report.n_failed and report.stop_reason in GOOD_ENDS
        logger.log(logging.INFO if well else logging.WARNING, "%s", end_line(report, self._best))


def trial_line(trial: FrozenTrial, best: FrozenTrial | None, *, metric: str | None = None, note: str = "") -> str:
    """What Optuna says of a trial that ended so; `note` is what `TrialPruned` was raised with."""
    number = trial.number
    if trial.state is TrialState.FAIL:
        return f"Trial {number} failed with parameters: {trial.params} because of the following error: {reason(trial)}."
    if trial.state is TrialState.PRUNED:
        return f"Trial {number} pruned. {note}".rstrip()
    value = trial.value if metric is None else {metric: trial.value}
    line = f"Trial {number} finished with value: {value} and parameters: {trial.params}."
    if violated := violations_of(trial):
        line += f" It violates {', '.join(f'{name} by {amount!r}' for name, amount in violated.items())}."
    return line if best is None else f"{line} Best is trial {best.number} with value: {best.value}."


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed, as on its record."""
    failure = as_mapping(trial.user_attrs.get(FAILURE_ATTRIBUTE))
    return f"{failure.get('type')}: {failure.get('message')}" if failure else "unknown, somebody else failed it"


def nothing_but_failures(count: int, last: FrozenTrial, plan: RunPlan) -> str:
    """What is said, once, when so many trials have failed, and none ended otherwise: what helps a run of this plan."""
    more = _starts_more(plan, count)
    rated = plan.max_failure_rate is None and _starts_more(plan, MIN_TRIALS_FOR_RATE)
    return (
        f"The first {count} trials of this run all failed, the last one because of {reason(last)}. "
        f"{'Every further trial costs a proposal: stop the run (Ctrl-C), and m' if more else 'M'}end the objective or "
        f"its search space; the traceback is in study.trials[{last.number}].user_attrs['failure']"
        f"{'. max_failure_rate= ends such runs' if rated else ''}"
    )


def _starts_more(plan: RunPlan, ended: int) -> bool:
    """Whether trials are left to start when so many have ended: each worker has begun another one by then."""
    return plan.n_trials is None or plan.n_trials > ended - 1 + plan.n_workers


def all_failed(count: int, last: FrozenTrial) -> str:
    """What is said of a run that was ended because all its trials failed alike."""
    return (
        f"The first {count} trials of this run all failed alike, the last one because of {reason(last)}. The run ends: "
        "each trial costs a proposal, and failures alone would not end it, for total_trials does not count them. Mend "
        "the objective, its search space or the place where it runs, and start the same run again: it goes on with "
        "this study. Where so many failures are normal, max_failure_rate=1 keeps a run going"
    )


def holding_places(trials: Sequence[FrozenTrial], total: int) -> str:
    """What is said of RUNNING trials that no living run is known to work on, within `total_trials`."""
    which = f"Trials {numbers(trials)} are" if len(trials) > 1 else f"Trial {numbers(trials)} is"
    return (
        f"{which} RUNNING, of no run that is known here, and may be what a killed process left. Until told, such "
        f"trials hold {len(trials)} of the {counted(total, 'place')} of total_trials. If nobody runs them any more, "
        f"end them: study.tell({trials[0].number}, state=optuna.trial.TrialState.FAIL)"
        f"{', and so on' if len(trials) > 1 else ''}"
    )


def end_line(report: RunReport, best: FrozenTrial | None = None) -> str:
    """How a run ended, in one line; `best` is the study's best trial."""
    cost = "of unknown cost" if report.cost is None else f"${report.cost:.4f}"
    calls = f"; {counted(report.llm_calls, 'LLM call')}, {counted(report.tokens, 'token')}, {cost}"
    asked = calls if report.llm_calls else ""
    found = "" if best is None else f". Best is trial {best.number} with value: {best.value}"
    reasons = "; each failed one says why in its user attribute 'failure'" if report.n_failed else ""
    return (
        f"Run ended by {report.stop_reason} after {report.seconds:.1f} s: {report.n_complete} complete, "
        f"{report.n_pruned} pruned, {report.n_failed} failed{asked}{reasons}{found}"
    )


NO_END: Final = (
    "No end is given: this run goes on until its search space is used up, study.stop() or Ctrl-C. Give n_trials=, "
    "total_trials=, timeout= or, to the sampler, a budget="
)


def numbers(trials: Sequence[FrozenTrial]) -> str:
    """The numbers of some trials, of many the first ones."""
    shown = ", ".join(str(trial.number) for trial in trials[:SHOWN_NUMBERS])
    return f"{shown} and {len(trials) - SHOWN_NUMBERS} more" if len(trials) > SHOWN_NUMBERS else shown
