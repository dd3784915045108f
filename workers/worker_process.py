"""One worker process, seen from the process of the run: started, given trials one after the other, killed."""

import codecs
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from optuna import Trial

from ..engine.errors import THIS_RUN, UsageError, about
from ..engine.outcome import Outcome
from ..engine.study.lanes import stoppable
from .messages import Answer, Done, Load, Task, TrialCall, loaded_error, pickled_error
from .remote_trial import ATTRIBUTES, METHODS

# What the interpreter of a process runs: modules are found as here before the first of ours is imported.
START: Final = f"""
import sys
sys.path[:] = dict.fromkeys([*sys.argv[3:], *sys.path])
from {__package__}.child import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""

# Of what a process printed: enough for the end of a traceback, or of a crash report.
TAIL_BYTES: Final = 2000
READ_BYTES: Final = 65536

# Seconds for which the end of a dead process, and what it printed last, are waited for.
LAST_WORDS_SECONDS: Final = 5.0

# Seconds after which a silent process is looked at: the end of a connection does not show while something else that the
# objective started holds it open.
LOOK_SECONDS: Final = 1.0


class ProcessDiedError(Exception):
    """A worker process ended while it ran an objective; the message says how, and what it printed last."""


class WorkerProcess:
    """A Python process that runs objectives, in a session of its own: whatever it starts is killed with it.

    `environment` is all of its environment. It ends by itself once this process is gone, however that ended. A fork of
    this process has no part in it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        with ExitStack() as if_it_fails, ExitStack() as theirs:
            ours, socket_there = socket.socketpair()
            if_it_fails.callback(ours.close)
            theirs.callback(socket_there.close)
            lifeline_there, lifeline = os.pipe()
            if_it_fails.callback(os.close, lifeline)
            theirs.callback(os.close, lifeline_there)
            output, printed = os.pipe()
            if_it_fails.callback(os.close, output)
            theirs.callback(os.close, printed)
            numbers = socket_there.fileno(), lifeline_there
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, *map(str, numbers), *_path()],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=dict(environment),
                pass_fds=numbers,
                start_new_session=True,
            )
            if_it_fails.pop_all()
        self._connection = Connection(ours.detach())
        self._started = False
        self._loaded: bytes | None = None
        self._output = _Output(output)
        self._lifeline = lifeline
        self._end = weakref.finalize(self, _end, self._process, lifeline, self._output)  # at this process' end as well
        _living.add(self)

    def __repr__(self) -> str:
        state = "alive" if self.alive else f"ended with {self._process.returncode}"
        return f"WorkerProcess(pid={self._process.pid}, {state})"

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def has_loaded(self, objective: bytes) -> bool:
        """Whether the next trial needs no preparation."""
        return objective == self._loaded

    def prepare(self, objective: bytes) -> Outcome | None:
        """Wait until the process has started and loaded an objective; returns the failure if that cannot be loaded.

        Raises `ProcessDiedError` if the process ends first.
        """
        done = self.load(objective)
        return None if done is None else outcome_of(done)

    def load(self, objective: bytes) -> Done | None:
        """Do as `prepare` does, and return the failure as it came."""
        try:
            if not self._started:
                self._receive()
                self._started = True
            if self.has_loaded(objective):
                return None
            self._loaded = None
            self._send(Load(objective=objective, path=_path(), argv=tuple(sys.argv)))
            reply = self._receive()
        except (EOFError, OSError):
            raise ProcessDiedError(self._last_words()) from None
        if isinstance(reply, Done):
            return reply
        self._loaded = objective
        return None

    def run(self, trial: Trial) -> Outcome:
        """Run the objective, and serve its calls to the trial; blocks until it ends.

        Raises `ProcessDiedError` if the process ends first.
        """
        study = trial.study
        task = Task(number=trial.number, study_name=study.study_name, direction=study.direction, folder=folder())
        with stoppable(study):
            return outcome_of(self.converse(task, partial(answered, trial)))

    def converse(self, task: Task, answer: Callable[[TrialCall | Exception], bytes]) -> Done:
        """Run the objective, and have each of its calls answered with what `answer` makes of it; blocks until it ends.

        Raises `ProcessDiedError` if the process ends first, and what `answer` raises.
        """
        self._output.forget()
        try:
            self._send(task)
            while isinstance(message := self._receive(), TrialCall | Exception):
                self._connection.send_bytes(answer(message))
        except (EOFError, OSError):
            raise ProcessDiedError(self._last_words()) from None
        done: Done = message
        return done

    def kill(self) -> None:
        """Have the process and all that it started end now; waits for nothing, and may be called anywhere."""
        if self._process.returncode is None:
            _kill(self._process)

    def end(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        self._end()

    def leave(self) -> None:
        """In a fork of the process that started it: hold nothing of it, so that neither end depends on the fork."""
        if self._end.detach() is not None:
            os.close(self._lifeline)
            self._connection.close()

    def _receive(self) -> Any:
        """The next message; an exception if it is a call that cannot be understood here."""
        while not self._connection.poll(LOOK_SECONDS):
            if not self.alive and not self._connection.poll():
                raise EOFError
        message = self._connection.recv_bytes()
        try:
            return pickle.loads(message)
        except Exception as error:  # a value of a class that is not known here
            return error

    def _send(self, message: Any) -> None:
        self._connection.send_bytes(pickle.dumps(message))

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_WORDS_SECONDS)
        self.end()
        self._connection.close()
        printed = self._output.last()
        return how_it_ended(self._process.returncode) + (f"; it printed last: {printed}" if printed else "")


class _Output:
    """What a process prints: passed on, and its end kept."""

    def __init__(self, source: int) -> None:
        self._tail = b""
        self._thread = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """A new trial begins."""
        self._tail = b""

    def last(self) -> str:
        """The end of what was printed in this trial so far."""
        return self._tail.decode(errors="replace").strip()

    def wait(self, seconds: float) -> None:
        """Wait until all is passed on: for `seconds` at most, as something else may hold the pipe open."""
        if threading.current_thread() is not self._thread:  # a garbage collection runs anywhere
            self._thread.join(seconds)

    def _read(self, source: int) -> None:
        text = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a character may come in two pieces
        with os.fdopen(source, "rb", buffering=0) as output:
            while chunk := output.read(READ_BYTES):
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                with suppress(Exception):  # nobody reads it: there is no terminal, or it is gone
                    sys.stderr.write(text.decode(chunk))


_living: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _leave_all() -> None:
    for process in list(_living):
        process.leave()


os.register_at_fork(after_in_child=_leave_all)


def _end(process: subprocess.Popen[bytes], lifeline: int, output: _Output) -> None:
    _kill(process)
    process.wait()
    os.close(lifeline)
    output.wait(LOOK_SECONDS)  # a thread that holds standard error would spoil the end of an interpreter


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except PermissionError:  # macOS: of a group with a process that has ended and is not waited for
            process.kill()


def _path() -> tuple[str, ...]:
    """Where this process looks for modules."""
    return tuple(folder for folder in sys.path if isinstance(folder, str))


def folder() -> str | None:
    """The working directory, if there still is one."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def how_it_ended(code: int) -> str:
    """A sentence about an exit code, as `subprocess` gives it."""
    if code >= 0:
        return f"the worker process ended with exit code {code} while it ran the objective"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed from outside)" if -code == signal.SIGKILL else ""
    return f"the worker process was ended by {name}{hint} while it ran the objective"


def answered(trial: Trial, call: TrialCall | Exception) -> bytes:
    """What one call of a trial's interface came to, as it travels."""
    try:
        with about(THIS_RUN):
            return pickle.dumps(Answer(value=served(trial, call)))
    except Exception as error:
        return pickle.dumps(Answer(error=pickled_error(error)))


def served(trial: Trial, call: TrialCall | Exception) -> Any:
    """The value of one call of a trial's interface; raises what the trial raises."""
    if isinstance(call, Exception):
        raise call
    if call.args is None:
        if call.name not in ATTRIBUTES:
            raise UsageError(f"a trial in another process has no attribute {call.name!r}")
        return getattr(trial, call.name)
    if call.name not in METHODS:
        raise UsageError(f"a trial in another process has no method {call.name!r}")
    called = trial.study.stop if call.name == "stop" else getattr(trial, call.name)
    return called(*call.args, **call.kwargs)


def outcome_of(done: Done) -> Outcome:
    """The outcome with its exception, or the nearest that is known here."""
    outcome: Outcome = pickle.loads(done.outcome)
    error = loaded_error(done.error)
    if error is not None and outcome.failure is not None and outcome.failure.traceback:
        error.add_note(f"In the worker process:\n{outcome.failure.traceback}")
    return replace(outcome, error=error)
