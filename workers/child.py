"""What runs in a worker process: receives objectives, calls them with a remote trial, sends back what came of them."""

import fcntl
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

import cloudpickle

from ..engine.errors import THIS_RUN, UsageError, about
from ..engine.outcome import Outcome, of_exception
from .messages import Answer, Done, Load, Ready, Task, TrialCall, loaded_error, pickled_error
from .remote_trial import Ask, RemoteTrial
from .thread import judged

Reply = Ready | Done


def main(socket: int, lifeline: int) -> None:
    """Serve the process of the run until that closes its end of the socket."""
    os.set_inheritable(socket, False)  # nobody whom an objective starts may hold this end open
    end_with(lifeline)
    connection = Connection(socket)
    os.register_at_fork(after_in_child=connection.close)
    with suppress(EOFError, OSError):  # closed: by the run, or here, in a fork that left its objective by the wrong end
        serve(connection)


def serve(connection: Connection) -> None:
    """Load objectives and run them, one after the other; raises `EOFError` or `OSError` at the end."""
    streams = Streams()
    objective: Callable[[Any], Any] | None = None
    reply: Reply = Ready()
    while True:
        connection.send_bytes(pickle.dumps(reply))
        message: Load | Task = pickle.loads(connection.recv_bytes())
        if isinstance(message, Load):
            objective = None  # what it holds may be large
            objective, reply = loaded(message)
        else:
            with TrialCalls(connection) as ask:
                reply = evaluated(objective, message, ask)
        streams.restore()


def loaded(message: Load) -> tuple[Callable[[Any], Any] | None, Reply]:
    """The objective, or why it cannot be loaded here: a module is missing, say."""
    try:
        extend_path(message.path)
        sys.argv[:] = message.argv
        return pickle.loads(message.objective), Ready()
    except BaseException as error:
        return None, done(of_exception(error))


def evaluated(objective: Callable[[Any], Any] | None, task: Task, ask: Ask) -> Done:
    """What came of one trial."""
    try:
        if task.folder is not None:
            os.chdir(task.folder)
        return done(judged(objective, RemoteTrial(task.number, task.study_name, task.direction, ask)))
    except BaseException as error:  # the folder is gone, or an exception has no text
        return done(of_exception(error))


def done(outcome: Outcome) -> Done:
    """The outcome as it can travel: its exception by itself."""
    bare = Outcome(state=outcome.state, value=outcome.value, failure=outcome.failure, note=outcome.note)
    return Done(outcome=pickle.dumps(bare), error=() if outcome.error is None else pickled_error(outcome.error))


def extend_path(first: Sequence[str]) -> None:
    """Have modules looked for where the process of the run does, in its order, and then where this one did."""
    sys.path[:] = dict.fromkeys([*first, *sys.path])


class TrialCalls:
    """Sends the calls of one trial, from whichever thread; use as a context manager, which is the objective's time.

    The lock's invariant: whoever holds it has sent nothing that is unanswered. So a thread that outlives its trial can
    neither read what is meant for the next one nor write into its trial.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> "TrialCalls":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True

    def __call__(self, name: str, *args: Any, read: bool = False, **kwargs: Any) -> Any:
        """Call a method, or read an attribute, of the trial; raises what that raises, and `UsageError` out of time."""
        with about(THIS_RUN):
            return self._call(name, args, read=read, kwargs=kwargs)

    def _call(self, name: str, args: tuple[Any, ...], *, read: bool, kwargs: dict[str, Any]) -> Any:
        if os.getpid() != self._process:
            raise UsageError("a trial belongs to the process of its objective: have that call it, not a fork of it")
        message = cloudpickle.dumps(TrialCall(name=name) if read else TrialCall(name=name, args=args, kwargs=kwargs))
        with self._lock:
            if self._ended:
                raise UsageError("the trial has ended: a thread that uses it must end before its objective does")
            self._connection.send_bytes(message)
            answer: Answer = pickle.loads(self._connection.recv_bytes())
        error = loaded_error(answer.error)
        if error is not None:
            raise error
        return answer.value


class Streams:
    """Standard output and error: what an objective does to them, or to their files, ends with its trial."""

    NUMBERS: Final = (1, 2)

    def __init__(self) -> None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # else a crash takes along what was printed
        self._files = [os.dup(number) for number in self.NUMBERS]
        self._streams = [sys.stdout, sys.stderr]

    def restore(self) -> None:
        """Write out what is in buffers, and put everything back."""
        self._flush(sys.stdout, sys.stderr)
        for number, file in zip(self.NUMBERS, self._files, strict=True):
            os.dup2(file, number)
        for place, number in enumerate(self.NUMBERS):
            if self._streams[place].closed:
                self._streams[place] = open(number, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = self._streams
        self._flush(sys.stdout, sys.stderr)  # what a closed file did not take

    def _flush(self, *streams: Any) -> None:
        for stream in streams:
            with suppress(Exception):  # it may be anything that the objective put there
                stream.flush()


def end_with(lifeline: int) -> None:
    """Have this process and all that it starts killed once nobody holds the other end of a pipe any more."""
    if hasattr(fcntl, "F_SETSIG"):  # by the kernel, whatever this process is busy with
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing is ever written: it returns once the other end is closed
    os.killpg(os.getpgrp(), signal.SIGKILL)
