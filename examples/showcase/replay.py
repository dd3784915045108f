"""A recorded run again: its proposals and values in the recorded order, without a model and without training.

Replies are given to requests in the order in which they came, whatever the prompts say: those are written by today's
code, and their wording may have changed since. How many are the same to the letter is counted. Menus are not offered
again: their candidates are computed, and may differ in a digit on another machine; the model's choice is replayed as
the configuration that it was.
"""

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from optuna_llm import FunctionClient, Reply, Request, RunReport, optimize

from .record import sampler_of
from .recorded_run import Exchange, RecordedRun, read_exchanges, read_run, trials_from_menus, trials_of_replies
from .score import BEGAN, ENDED, REPLY, REQUEST, Conductor, InTurn
from .task import N_WORKERS, SPACE, suggested

Callback = Callable[[optuna.Study, FrozenTrial], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay gave; of `n_free` prompts without a menu `n_same` are to the letter what the model was shown."""

    study: optuna.Study
    report: RunReport
    menus: Set[int]
    """The trials that were chosen from a menu, by their numbers."""
    n_free: int
    n_same: int


@dataclass(slots=True)
class RecordedReplies:
    """The k-th request gets the k-th reply, as the configuration that it became and with the seconds that it took."""

    run: RecordedRun
    exchanges: Mapping[int, Exchange]
    n_requests: int = 0
    n_same: int = 0

    def __call__(self, request: Request) -> Reply:
        self.n_requests += 1
        exchange = self.exchanges[self.n_requests]
        self.n_same += not exchange.menu and list(request.messages) == exchange.messages
        at = {event.kind: event.seconds for event in self.run.events if event.number == self.n_requests}
        text, latency = self._text(exchange), at[REPLY] - at[REQUEST]
        return Reply(text=text, model=self.run.model, finish_reason="stop", latency=latency)

    def _text(self, exchange: Exchange) -> str:
        trial = trials_of_replies(self.run.events).get(self.n_requests)
        if trial is None:
            return exchange.text
        return json.dumps({"rationale": exchange.rationale, **self.run.evaluations[trial].params})


def replay(folder: Path, speed: float, callback: Callback | None = None) -> Replayed:
    """Run the study of a recording again, `speed` times faster. Raises `LookupError` where it goes another way."""
    run = read_run(folder)
    conductor = Conductor(run.events, speed)
    replies = RecordedReplies(run=run, exchanges=read_exchanges(folder))
    study = optuna.create_study(sampler=sampler_of(InTurn(FunctionClient(replies), conductor), "plain"))

    def objective(trial: optuna.Trial) -> float:
        conductor(BEGAN, trial.number)
        evaluation = run.evaluations[trial.number]
        if suggested(trial) != evaluation.params:
            conductor.give_up(f"trial {trial.number} has other parameters")
        conductor(ENDED, trial.number)
        return evaluation.value

    report = optimize(
        study,
        objective,
        n_trials=len(run.evaluations),
        n_workers=N_WORKERS,
        search_space=SPACE,
        callbacks=[] if callback is None else [callback],
    )
    return Replayed(
        study=study,
        report=report,
        menus=trials_from_menus(folder),
        n_free=sum(not exchange.menu for exchange in replies.exchanges.values()),
        n_same=replies.n_same,
    )
