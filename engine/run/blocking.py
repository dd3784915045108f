"""`optimize`: the run of `optimize_async` for callers that do not await, in scripts and in cells of a notebook."""

import functools
import inspect
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, Final, ParamSpec

import anyio

from ..errors import OptunaLLMError, brief
from ..threads import JobThread, outside_of_loops, runs_loop
from .called import require_fitting
from .report import RunReport
from .signals import Signals, wanted_signals

P = ParamSpec("P")

DOC: Final = """Do what `await optimize_async(...)` does, and return its report.

        Where an event loop runs in this thread already, as in a notebook, the run goes to a thread of its own, and an
        `async def` objective is awaited there. This thread waits; an interrupt of it (Ctrl-C, a notebook's stop button)
        asks no more and lets running trials finish within `grace`, a second one ends them; with `handle_signals=False`
        the first one does.

        """


def blocking(run: Callable[P, Coroutine[Any, Any, RunReport]]) -> Callable[P, RunReport]:
    """The same run, for callers that do not await it."""
    signature = inspect.signature(run)

    @functools.wraps(run)
    def optimize(*args: P.args, **kwargs: P.kwargs) -> RunReport:
        require_fitting("optimize", signature, args, kwargs)
        try:
            return wait(*args, **kwargs)
        except OptunaLLMError as error:
            raise brief(error)  # noqa: B904 - the same error

    def wait(*args: P.args, **kwargs: P.kwargs) -> RunReport:
        if not runs_loop():
            return outside_of_loops().run(lambda: anyio.run(lambda: run(*args, **kwargs)))
        wanted = wanted_signals(kwargs.get("handle_signals"))
        signals = wanted or Signals()
        kwargs["handle_signals"] = signals
        thread = JobThread("optuna-llm run")
        try:
            context = outside_of_loops()
            future = thread.submit(lambda: context.run(lambda: anyio.run(lambda: run(*args, **kwargs))))
            with nullcontext() if wanted is None else wanted.handled():
                return _result(future, signals, interrupts=1 if wanted else 2)
        finally:
            thread.close()

    optimize.__name__ = optimize.__qualname__ = "optimize"
    optimize.__doc__ = DOC + (run.__doc__ or "")
    return optimize


def _result(future: Future[RunReport], signals: Signals, interrupts: int) -> RunReport:
    """Wait for the run; each interrupt that is raised here all the same is passed on to it as so many."""
    news = 0
    while True:
        try:
            for _ in range(news):
                signals.receive(signal.SIGINT)
            return future.result()
        except KeyboardInterrupt:
            if future.done():
                raise
            news = interrupts
