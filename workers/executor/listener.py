"""One trial on an executor, seen from the run: its calls are made while the objective runs, and its end is seen to."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from optuna import Trial

from ...engine.logs import get_logger
from ...engine.outcome import Outcome, of_exception
from ...engine.study.lanes import stoppable
from ...engine.study.patience import StorageGone
from ..messages import Answer, TrialCall, loaded_call, pickled_error
from ..worker_process import answered, outcome_of, served
from .assignment import Beginning, TrialRecord
from .belonging import INTERRUPT
from .mailbox import Letters, pause

logger = get_logger("optuna_llm.engine")

# Seconds between two tries to end an objective that goes on, and after which its process is killed if a signal ended
# the run: within the five seconds for which somebody waits who has pressed Ctrl-C twice.
AGAIN_SECONDS: Final = 0.5
KILL_SECONDS: Final = 2.0


class Listener:
    """Makes a trial's calls in its study, and answers `should_prune()`; all of it on the trial's thread.

    `begins` is called when the objective is loaded, and about to begin. The first call that raises is the last one that
    is made: it fails the trial, unless that failed by itself.
    """

    def __init__(
        self, trial: Trial, letters: Letters, future: Future[bytes], begins: Callable[[], None] = lambda: None
    ) -> None:
        self.future = future
        self._trial = trial
        self._begins = begins
        self._letters = letters
        self._made = 0  # of the calls that a record has
        self._error: Exception | None = None
        self._beginning: Beginning | None = None
        self._deaf = False  # what cannot be read here comes with the record
        self._given_up = False
        self._stopped, self._over = threading.Event(), threading.Event()
        future.add_done_callback(self._ended)

    def listen(self) -> None:
        """Look at what the objective says, more and more seldom while it says nothing, until it is over or stopped."""
        heard = time.monotonic()
        while not self._stopped.wait(pause(time.monotonic() - heard)):
            if self._look():
                heard = time.monotonic()

    def stop(self) -> None:
        """Make no more calls, as nobody waits for the objective any more; from any thread."""
        self._given_up = True
        self._stopped.set()

    def end(self) -> None:
        """Look for the last time, as the objective is over or lost."""
        self._look()

    def remove(self) -> None:
        """Remove the files."""
        self._letters.remove()

    def outcome(self, record: TrialRecord) -> Outcome:
        """Make the calls of a record that nobody has heard of, and say what came of the trial."""
        outcome = outcome_of(record.done)
        with stoppable(self._trial.study):
            if record.read_params:
                self._try(TrialCall(name="params"))
            for call in record.calls[self._made :]:
                self._try(loaded_call(call))
        if isinstance(self._error, StorageGone):
            logger.warning(
                "Trial %d ended, and not all that it reported is stored: %s", self._trial.number, self._error
            )
        elif self._error is not None and outcome.error is None:
            return of_exception(self._error)
        return outcome

    def give_up(self, *, by_force: bool) -> None:
        """Have an objective that was stopped return, as far as that is possible, and remove its files.

        Where it asks `should_prune()`, that is true. Python code in a process that is ours is interrupted; where that
        does not help, the process is killed, if `by_force`.
        """
        began = time.monotonic()
        self._letters.answers.remove()
        self._end(kill=False)
        while not self._over.wait(AGAIN_SECONDS):
            self._end(kill=by_force and time.monotonic() > began + KILL_SECONDS)
        self._letters.remove()

    def _ended(self, _: Future[bytes]) -> None:
        self._over.set()
        self._stopped.set()

    def _look(self) -> bool:
        """Make the calls that came since the last look; says whether there were any."""
        if self._deaf:
            return False
        try:
            messages = self._letters.calls.messages()
            with stoppable(self._trial.study):
                for message in messages:
                    self._hear(message)
        except OSError as error:
            logger.debug("Trial %d is not heard while it runs: %s", self._trial.number, error)
            self._deaf = True
            return False
        return bool(messages)

    def _hear(self, message: bytes) -> None:
        said: Any = loaded_call(message)
        if isinstance(said, Beginning):
            self._beginning = said
            if said.loaded and not self._given_up:
                self._begins()
        elif self._given_up:
            return
        elif isinstance(said, TrialCall) and said.name == "should_prune":
            self._letters.answers.append(self._answer(said))
        else:
            self._try(said)
            self._made += 1

    def _answer(self, question: TrialCall) -> bytes:
        if self._error is not None:
            return pickle.dumps(Answer(error=pickled_error(self._error)))
        return answered(self._trial, question)

    def _try(self, call: TrialCall | Exception) -> None:
        if self._error is None:
            try:
                served(self._trial, call)
            except Exception as error:
                self._error = error

    def _end(self, *, kill: bool) -> None:
        self._look()  # it may begin only now
        there = self._beginning
        if there is None or not there.belongs or not there.process.is_alive():
            return
        with suppress(OSError):
            if kill:
                os.kill(there.process.pid, signal.SIGKILL)
            elif there.interruptible:
                os.kill(there.process.pid, INTERRUPT)
