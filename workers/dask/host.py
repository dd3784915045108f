"""What runs in a worker of a Dask cluster: the objective of a trial, in a process of its own that can be killed."""

import asyncio
import os
import pickle
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import cloudpickle

from ...engine.outcome import failed
from ..messages import Answer, Done, Task, TrialCall, pickled_error
from ..process import environment
from ..worker_process import ProcessDiedError, WorkerProcess, folder
from .library import distributed

# Seconds between looks at whether a running trial is still wanted: so long a cancelled objective lives.
WANTED_SECONDS: Final = 0.1

# Seconds between looks at whether the owner of idle processes still lives.
OWNER_SECONDS: Final = 1.0

# What a Dask worker is while its trials are wanted.
AT_WORK: Final = ("init", "running", "paused", "closing_gracefully")

# Seconds for which the scheduler is waited for when it is asked.
ASK_SECONDS: Final = 10.0


# Objectives that a worker remembers: runs that are over are not told to it.
OBJECTIVES: Final = 4


class Kind(StrEnum):
    """What an attempt at a trial says: that it begins, that its objective does, or one of two questions."""

    BEGIN = "begin"
    START = "start"
    OBJECTIVE = "objective"
    CALL = "call"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTask:
    """To the cluster: run an objective for a trial. Its calls go to `topic`; its process may be kept for `owner`.

    `objective` is a name: a worker asks for what it has not had yet. An input of the task would do, but Dask prefers
    workers that have the inputs of a task to those that have nothing to do.

    `owner` is a key that the cluster forgets once the workers of the run are closed, or their client is gone.
    """

    task: Task
    topic: str
    objective: str
    owner: str


def run_trial(trial_task: TrialTask) -> Done:
    """Run one trial; the task that Dask schedules, and schedules again when its worker is lost."""
    worker = distributed().get_worker()
    attempt = Attempt(worker, trial_task)
    with _host.listening(attempt):
        return attempt.run()


def deliver(attempt: str, call: int, answer: bytes) -> None:
    """Hand an answer of the run to the attempt that waits for it, if that still runs here."""
    _host.deliver(attempt, call, answer)


class Attempt:
    """One go at a trial. A trial whose worker is lost has several, of which the newest is the one that counts."""

    def __init__(self, worker: Any, trial_task: TrialTask) -> None:
        self.name = uuid.uuid4().hex
        self._worker = worker
        self._key: str = worker.get_current_task()
        self._trial_task = trial_task
        self._answers: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._calls = 0

    def run(self) -> Done:
        """Run the objective to its end, or until nobody wants its result any more."""
        self._say(Kind.BEGIN)
        process = _host.process(self._worker.state.nthreads)
        try:
            with self._watched(process):
                done = process.load(_host.objective(self._trial_task.objective, lambda: self._ask(Kind.OBJECTIVE)))
                if done is None:
                    self._say(Kind.START)
                    done = process.converse(replace(self._trial_task.task, folder=folder()), self._answer)
        except ProcessDiedError as error:
            process.end()
            return died(error)
        except BaseException:
            process.end()
            raise
        _host.keep(process, self._trial_task.owner, self._worker)
        return done

    def hear(self, call: int, answer: bytes) -> None:
        """Take an answer; from any thread."""
        self._answers.put((call, answer))

    def _answer(self, call: TrialCall | Exception) -> bytes:
        if isinstance(call, Exception):
            return pickle.dumps(Answer(error=pickled_error(call)))
        return self._ask(Kind.CALL, cloudpickle.dumps(call))

    def _ask(self, kind: Kind, message: bytes = b"") -> bytes:
        self._calls += 1
        self._say(kind, message)
        while (heard := self._answers.get()) is not None:
            number, answer = heard
            if number == self._calls:  # an answer that seemed lost is sent again
                return answer
        raise ProcessDiedError("the trial was cancelled")

    def _say(self, kind: Kind, message: bytes = b"") -> None:
        who = {"trial": self._key, "attempt": self.name, "worker": self._worker.address}
        self._worker.log_event(
            self._trial_task.topic, {**who, "kind": kind.value, "call": self._calls, "message": message}
        )

    @contextmanager
    def _watched(self, process: WorkerProcess) -> Iterator[None]:
        over = threading.Event()
        threading.Thread(target=self._watch, args=(process, over), name="optuna-llm watch", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, process: WorkerProcess, over: threading.Event) -> None:
        while not over.wait(WANTED_SECONDS):
            if not self._wanted():
                process.kill()
                self._answers.put(None)
                return

    def _wanted(self) -> bool:
        """Dask ends no thread: it takes note that a task is cancelled, and lets it run."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled" and self._worker.status.name in AT_WORK


class Host:
    """The attempts and the idle processes of one process of a cluster.

    The lock's invariant: a process is idle, or an attempt has it; while some are idle, a thread looks after them. Who
    holds the other lock is the only one that asks for an objective.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: dict[str, Attempt] = {}
        self._idle: list[tuple[str, WorkerProcess]] = []
        self._tended = False
        self._asking = threading.Lock()
        self._objectives: dict[str, bytes] = {}

    @contextmanager
    def listening(self, attempt: Attempt) -> Iterator[None]:
        """Have answers reach an attempt."""
        self._attempts[attempt.name] = attempt
        try:
            yield
        finally:
            del self._attempts[attempt.name]

    def deliver(self, name: str, call: int, answer: bytes) -> None:
        """See the function."""
        attempt = self._attempts.get(name)
        if attempt is not None:
            attempt.hear(call, answer)

    def objective(self, name: str, ask: Callable[[], bytes]) -> bytes:
        """The objective of that name, pickled; `ask` gets it."""
        with self._asking:
            found = self._objectives.pop(name, None)
            self._objectives[name] = ask() if found is None else found  # the newest is last
            while len(self._objectives) > OBJECTIVES:
                del self._objectives[next(iter(self._objectives))]
            return self._objectives[name]

    def process(self, slots: int) -> WorkerProcess:
        """Take an idle process, or start one; `slots` of them share the CPUs."""
        while (idle := self._pop()) is not None:
            if idle.alive:
                return idle
            idle.end()
        return WorkerProcess(environment({}, os.environ, slots))

    def keep(self, process: WorkerProcess, owner: str, worker: Any) -> None:
        """Have a process wait for the next trial, while its owner lives."""
        with self._lock:
            self._idle.append((owner, process))
            tended, self._tended = self._tended, True
        if not tended:
            threading.Thread(target=self._tend, args=(worker,), name="optuna-llm idle", daemon=True).start()

    def _pop(self) -> WorkerProcess | None:
        with self._lock:
            return self._idle.pop()[1] if self._idle else None

    def _tend(self, worker: Any) -> None:
        pause = threading.Event()
        while self._tended:
            pause.wait(OWNER_SECONDS)
            with self._lock:
                owners = {owner for owner, _ in self._idle}
            living = {owner for owner in owners if lives(owner, worker)}
            for process in self._without(owners - living):
                process.end()

    def _without(self, dead: set[str]) -> list[WorkerProcess]:
        with self._lock:
            ended = [process for owner, process in self._idle if owner in dead]
            self._idle = [each for each in self._idle if each[0] not in dead]
            self._tended = bool(self._idle)
        return ended


def lives(owner: str, worker: Any) -> bool:
    """Whether the scheduler knows the owner of a process; without a scheduler, none lives."""

    async def ask() -> Any:
        return await worker.scheduler.who_has(keys=[owner])

    try:
        asked = asyncio.run_coroutine_threadsafe(ask(), worker.loop.asyncio_loop)
        return bool(asked.result(ASK_SECONDS)[owner])
    except Exception:
        return False


def died(error: Exception) -> Done:
    """The failure of a trial that costs the trial, and not the run."""
    return Done(outcome=pickle.dumps(replace(failed(error), error=None)))


# One for each process of a cluster: what the run sends to a Dask worker is called there as a function of a module.
_host = Host()
