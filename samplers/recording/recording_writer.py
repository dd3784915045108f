"""Lines on their way into a recording: in order, from one thread, and never on an event loop."""

import os
from pathlib import Path

from ...engine.errors import UsageError
from ...engine.threads import JobThread
from ..client.errors import ClientError
from ..client.llm_loop import at_close
from .exchange_records import Record, cleaned, dump


class RecordingWriter:
    """Writes `header` and events to `path`.

    The calls of `add` decide the order of the lines; a thread makes them and writes them, and holds no file open in
    between. After the first failure nothing more is written.
    """

    def __init__(self, path: Path, header: Record) -> None:
        self._path = path
        self._header = [header]  # empty once it is written
        self._process = os.getpid()
        self._thread: JobThread | None = None
        self._failure: Exception | None = None
        self._requests = 0
        self._events = 0

    def begin(self, request: Record) -> int:
        """Add a request, and return its id. Raises as `flush` does, and in a forked process."""
        if os.getpid() != self._process:
            raise UsageError(f"the recording {str(self._path)!r} belongs to another process: give each its own file")
        self._raise_failure()
        self._requests += 1
        self.add({"event": "request", "id": self._requests, "request": request})
        return self._requests

    async def end(self, event: Record) -> None:
        """Add how a request ended, and wait until it is in the file: then its caller may have it."""
        self.add(event)
        events = self._events
        await self.flush()
        if self._events > events:
            self.add({"event": "returned", "id": event["id"]})

    def add(self, event: Record) -> None:
        """Add an event; never raises."""
        self._events += 1
        try:
            if self._thread is None:
                self._thread = JobThread("optuna-llm recording")
                at_close(self.flush)  # the thread is a daemon: without it, lines could be lost when the process ends
            self._thread.submit(self._write, event)
        except RuntimeError as error:  # no thread starts any more: the interpreter is exiting
            self._failure = self._failure or error

    async def flush(self) -> None:
        """Wait until all lines so far are in the file.

        Raises `ClientError` if one could not be written, and `UsageError` if that was the user's mistake.
        """
        self._raise_failure()
        if self._thread is not None:
            await self._thread.run(lambda: None)
        self._raise_failure()

    async def aclose(self) -> None:
        """Write what is left, and end the thread."""
        try:
            await self.flush()
        finally:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.close()

    def _raise_failure(self) -> None:
        failure = self._failure
        if isinstance(failure, UsageError):
            raise UsageError(str(failure))
        if failure is not None:
            raise ClientError(
                f"the recording {str(self._path)!r} could not be written ({type(failure).__name__}: {failure}); "
                "record into a new file where there is room: what is in this one until then can be replayed"
            ) from failure

    def _write(self, event: Record) -> None:
        """Write one line, and the header before the first; runs in the thread."""
        if self._failure is not None:
            return
        try:
            lines = [*self._header, event]
            text = "".join(dump(cleaned(line)) + "\n" for line in lines)
            if self._header:
                require_new(self._path)
            with self._path.open("ab") as file:
                file.write(text.encode("ascii"))
            self._header = []
        except Exception as error:
            self._failure = error


def require_new(path: Path) -> None:
    """Raise `UsageError` unless a recording can begin at `path`."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r} to write the recording {path.name!r} into")
    if path.is_dir() or (path.exists() and path.stat().st_size):
        raise UsageError(
            f"{str(path)!r} exists and a recording is never added to: record into a new file, delete this one, or "
            "replay it with ReplayClient(path)"
        )
