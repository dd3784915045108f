"""One trial on a cluster, seen from the run: its task at the scheduler, and the calls that come from there."""

import asyncio
import pickle
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio
from optuna import Trial

from ...engine.outcome import Outcome
from ...engine.threads import JobThread, on_this_loop, unwrapped
from ..messages import Answer, Done, Task, TrialCall
from ..worker_process import ProcessDiedError, answered, outcome_of
from .host import Kind, TrialTask, deliver, died, run_trial
from .library import distributed

# Seconds after which an answer that did not reach its worker is sent again, and between looks at the scheduler.
RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCall:
    """What an attempt at a trial says; `message` is a pickled call of the trial, if it is one.

    `call` counts its questions, so that it knows the answer to the last one.
    """

    trial: str
    attempt: str
    worker: str
    kind: str
    call: int
    message: bytes


class Conversation:
    """Runs one trial; all of it but the trial's storage calls happens on the client's loop.

    Dask runs the trial again when its worker is lost: calls of the attempt before are then no longer answered, and what
    it reported stays.
    """

    def __init__(
        self, client: Any, trial: Trial, objective: bytes, thread: JobThread, started: Callable[[], None]
    ) -> None:
        self.key = f"optuna-llm-trial-{uuid.uuid4().hex}"
        self._client = client
        self._trial = trial
        self._objective = objective
        self._thread = thread
        self._started = started
        self._heard: asyncio.Queue[AttemptCall] = asyncio.Queue()
        self._attempt = ""
        self._steps: dict[int, str] = {}  # which attempt reported them first

    def hear(self, heard: AttemptCall) -> None:
        """Take what an attempt says."""
        self._heard.put_nowait(heard)

    async def run(self, objective: str, topic: str, owner: str, resources: Mapping[str, float]) -> Outcome:
        """Have the cluster run the trial, and return what came of it; cancellation ends the objective.

        Raises `ConnectionError` if the scheduler is gone, and what a worker raised that could not begin.
        """
        study = self._trial.study
        task = Task(number=self._trial.number, study_name=study.study_name, direction=study.direction)
        trial_task = TrialTask(task=task, topic=topic, objective=objective, owner=owner)
        future = self._client.submit(run_trial, trial_task, key=self.key, pure=False, resources=dict(resources) or None)
        try:
            with unwrapped():
                async with anyio.create_task_group() as group:
                    group.start_soon(self._serve)
                    group.start_soon(self._watch)
                    done = await self._result(future)
                    group.cancel_scope.cancel()
        finally:
            future.release()  # nobody else holds it, so that the scheduler cancels a task that still runs
        return outcome_of(done)

    async def _result(self, future: Any) -> Done:
        library = distributed()
        call_soon, ended = on_this_loop(), asyncio.Event()
        future.add_done_callback(lambda _: call_soon(ended.set))
        await ended.wait()  # `gather` would log an error for each wait that is cancelled
        try:
            done: Done = await self._client.gather(future, asynchronous=True)
        except library.KilledWorker as error:  # more often than Dask's `distributed.scheduler.allowed-failures`
            return died(ProcessDiedError(f"each worker of the cluster that ran the objective was lost: {error}"))
        except library.CancelledError as error:
            raise self._gone(getattr(error, "reason", error)) from error
        return done

    def _gone(self, why: object) -> ConnectionError:
        address = self._client.scheduler.address if self._client.scheduler is not None else "its address"
        return ConnectionError(f"the Dask scheduler at {address} is gone, or gave the trial up ({why})")

    async def _watch(self) -> None:
        """End with an error once there is no scheduler: a task that was just sent may be waited for forever."""
        while True:
            if self._client.status != "running":
                raise self._gone(f"the client is {self._client.status}")
            await anyio.sleep(RETRY_SECONDS)

    async def _serve(self) -> None:
        while True:
            heard = await self._heard.get()
            if heard.kind == Kind.BEGIN:
                self._attempt = heard.attempt
            if heard.attempt != self._attempt:
                continue
            if heard.kind == Kind.START:
                self._started()
            elif heard.kind == Kind.OBJECTIVE:
                await self._deliver(heard, self._objective)
            elif heard.kind == Kind.CALL:
                await self._deliver(heard, await self._thread.run(self._answered, heard))

    async def _deliver(self, heard: AttemptCall, answer: bytes) -> None:
        while self._heard.empty():  # else another attempt has begun, as each waits for its answer
            try:
                await self._client.run(deliver, heard.attempt, heard.call, answer, workers=[heard.worker])
            except Exception:  # the worker is gone, then Dask runs the trial again; or a connection broke
                await anyio.sleep(RETRY_SECONDS)
            else:
                return

    def _answered(self, heard: AttemptCall) -> bytes:
        """The answer to a call; runs on the thread of the trial."""
        try:
            call: TrialCall | Exception = pickle.loads(heard.message)
        except Exception as error:
            call = error
        if isinstance(call, TrialCall) and call.name == "report" and self._is_repeated(call, heard.attempt):
            return pickle.dumps(Answer())
        return answered(self._trial, call)

    def _is_repeated(self, call: TrialCall, attempt: str) -> bool:
        """Whether an earlier attempt reported that step: Optuna keeps the first value, and warns of a second."""
        step = (call.args or (None, None))[1]
        return isinstance(step, int) and self._steps.setdefault(step, attempt) != attempt
