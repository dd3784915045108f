"""Event loops, as a thread finds them and as others reach them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from anyio.lowlevel import current_token

from .mailbox import mailbox_of


def runs_loop() -> bool:
    """Whether an event loop runs in this thread, be it between two tasks."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    with suppress(RuntimeError):
        current_token()
        return True
    return False


def outside_of_loops() -> Context:
    """A copy of the context variables, without the one by which anyio takes whoever copied them for a running loop."""
    context = copy_context()
    for variable in context:
        if variable.name == "current_async_library_cvar":
            context.run(variable.set, None)
    return context


def on_this_loop() -> Callable[[Callable[[], object]], None]:
    """A function that lets any thread, or a signal handler, have the running loop call another function soon.

    Where the loop is closed by then, it does nothing.
    """
    native: Any = _running_task_loop() or current_token().native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        return mailbox_of(native).offer
    return partial(_run_soon, native)


def _run_soon(token: Any, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody is left to wake
        token.run_sync_soon(callback)


def _running_task_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of the asyncio task that runs in this thread, if one does: anyio finds it too, ten times as slowly."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop() if asyncio.current_task() else None
    return None
